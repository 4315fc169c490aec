"""Command-line verbs of the training tree."""
