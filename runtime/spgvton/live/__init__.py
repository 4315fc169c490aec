"""Live mode: the camera's own picture, in which only the clothes are new."""
