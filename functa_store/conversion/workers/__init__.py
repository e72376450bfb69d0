"""Processes that fit the shards of one conversion together."""
