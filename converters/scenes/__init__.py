"""Scenes seen from many sides."""
