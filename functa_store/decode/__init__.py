"""Functasets as readers see them: decoding at any points."""
