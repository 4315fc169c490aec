"""The garment cut-out network: any photograph of a garment -> soft mask, kind and sleeve length.

network (what is trained) -> photographs, rendered, surfaces, strangers (what is seen) -> scenes (a sample) -> train -> export.
"""
