"""Domains: where examples are sampled."""
