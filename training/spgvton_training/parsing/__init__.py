"""A small human parser for live mode: its network, what it learns from, and how (`spgvton train-parser`)."""
