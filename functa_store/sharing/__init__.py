"""Functasets shown and shared: dataset cards, reports, and data sets of the Hugging Face hub."""
