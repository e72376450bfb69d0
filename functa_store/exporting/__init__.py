"""Export of decoded examples to files of arrays or pictures."""
