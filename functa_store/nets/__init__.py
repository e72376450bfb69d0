"""Modulated SIRENs and volume rendering."""
