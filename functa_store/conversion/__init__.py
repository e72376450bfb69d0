"""Conversion of sources, recoding, repair and deep verification."""
