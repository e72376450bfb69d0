"""The store: one sharded Zarr v3 group of modulations, base weights and all that decodes them."""
