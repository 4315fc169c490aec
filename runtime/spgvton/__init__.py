"""spgvton: live virtual try-on at the edge. This package is the runtime and the contract; it never imports torch."""

__version__ = "0.1.0"
