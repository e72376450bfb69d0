"""Pictures, surfaces, films and sounds of decoded examples."""
