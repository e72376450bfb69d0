"""Data sets that are open in Python, of PyTorch, Hugging Face and TensorFlow Datasets, as sources."""
