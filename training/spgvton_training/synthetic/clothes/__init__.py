"""Garments: how they are cut, printed, worn and photographed in the shop. It knows the body, and nobody in particular."""
