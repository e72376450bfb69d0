"""Converters: a folder per kind of archive, with its options, source and presets."""
