"""Folders, zips and tars, opened as a stranger's."""
