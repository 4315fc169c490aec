"""Synthetic try-on triplets: a CC0 body, dressed, posed and rendered with numpy, with exact labels.

Rooms, from below; imports go down only:

    drawing    arrays, triangles to pixels (raster), noise, the flat plane
    people     the body asset, its shape (body) and skeleton (pose), face, hair, hats and glasses, bags; who is sampled (identity)
    clothes    the cloth on the body (cloth), laid flat (outline, dress, flat), cut, printed and trimmed, jackets and hoods,
               sleeves folded over (folding); what is sold (wardrobe) and its in-shop picture (inshop, garment)
    render     the meshes of a dressed person (person, assembly), their colours and labels (paint), light and backdrop, the lens,
               and the photo (scene)

Above them the data set (dataset), the files of the flow, contact sheets, and the demo's clip.

World coordinates: decimetres, x to the right of the picture (the person's left), y up, z towards the camera; the rest
pose faces the camera and a body is about 16.5 high (y from -8.3 to 8.2). numpy and OpenCV only.
"""

RENDERER_VERSION = 5  # raise it whenever the same seed gives another picture
