"""The body, its poses, face and hair, what is worn on the head and carried."""
