"""The format of a store: its description, layout and bytes."""
