"""Arrays of NumPy, HDF5 and Zarr files."""
