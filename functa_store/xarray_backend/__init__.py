"""How does xarray open a functaset?"""

from functa_store.xarray_backend.accessor import FunctaAccessor as FunctaAccessor
from functa_store.xarray_backend.backend import FunctaBackend as FunctaBackend
