"""The engine `functa` of xarray, and the accessor ds.functa."""

from functa_store.xarray_backend.accessor import FunctaAccessor as FunctaAccessor
from functa_store.xarray_backend.backend import FunctaBackend as FunctaBackend
