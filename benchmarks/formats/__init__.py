"""Shuffled batches of vectors from other formats, each in its own fast way."""
