"""Named workloads against named peers; each also runs, tiny, as a test."""
