"""Scores of functasets as training data."""

SEEDS, STEPS, MOST_EXAMPLES = 3, 2000, 10_000
"""Trainings of each classifier, steps of each, and examples of each split at most, unless given."""
