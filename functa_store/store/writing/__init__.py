"""Writing of a store, across interruptions."""
