"""Weights that somebody else trained: which they are, whether they fit the base, and as a folder that is served as ours are."""
