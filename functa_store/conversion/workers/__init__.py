"""Workers: processes that fit the shards of one conversion together."""
