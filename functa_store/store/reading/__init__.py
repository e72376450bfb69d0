"""Reading of a store."""
