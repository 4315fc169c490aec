"""A photo of a dressed person before a backdrop, with its labels, keypoints and flow."""
