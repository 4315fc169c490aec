"""Synthetic try-on triplets: a CC0 body, dressed, posed and rendered with numpy, with exact labels.

assets -> body (shape) -> pose (skeleton) -> cloth (drape) -> shop, outline, flat, dress (the cloth laid flat) -> pattern,
cuts, jacket, hood, trim, folding, hanger, inshop, garment (in-shop picture) -> face, hairstyle, hair, hair_shapes, accessories, carried, person -> assembly (meshes of a
dressed person) -> raster -> paint, hair_paint, backdrop, shading, lens -> scene (photo, labels, keypoints, flow) -> dataset.

World coordinates: decimetres, x to the right of the picture (the person's left), y up, z towards the camera; the rest
pose faces the camera and a body is about 16.5 high (y from -8.3 to 8.2). numpy and OpenCV only.
"""

RENDERER_VERSION = 5  # raise it whenever the same seed gives another picture
