"""Quantisation of model bundles. Its code comes with issue D."""
