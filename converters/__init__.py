"""One module per kind of archive: a source, its presets, and the expected result in its docstring."""
