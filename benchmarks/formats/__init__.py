"""How do other formats read shuffled batches of vectors, each in its own fast way?"""
