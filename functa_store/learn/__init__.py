"""Meta-learning of a base network, and fits of modulations."""
