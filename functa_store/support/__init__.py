"""Helpers without knowledge of functa."""
