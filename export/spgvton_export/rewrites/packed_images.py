"""conv(concat(maps, packed image)) = conv(maps) + conv(image): the image is read where it lies, every second pixel.

A 3x3 convolution of 2x2 pixels that were made channels (pixel_unshuffle: a transposition of the whole image) is a 6x6
convolution of stride 2 of the image itself, with the same weights in another order.
"""

from __future__ import annotations

from typing import Final

import onnx_graphsurgeon as gs

from spgvton_export.rewrites.nodes import constant, convolutions, make, only_reader, replace

# Channels of a picture. From 8 on (AVX-512: 16), all pictures of a convolution together, ONNX Runtime wants them blocked.
MOST_CHANNELS: Final = 3


def read_images_unpacked(graph: gs.Graph) -> int:
    """Split each 3x3 convolution of a concatenation with packed images in it. Returns how many."""
    count = 0
    for conv in convolutions(graph):
        x = conv.inputs[0]
        join = x.inputs[0] if x.inputs else None
        if join is None or join.op != "Concat" or join.attrs["axis"] != 1 or not only_reader(x):
            continue
        images = {id(part): image for part in join.inputs if (image := _packed_from(part)) is not None}
        if not images or len(images) == len(join.inputs):
            continue
        replace(conv, _split(graph, conv, join.inputs, images))
        count += 1
    return count


def _packed_from(packed: gs.Tensor) -> gs.Tensor | None:
    """The image (1, c, 2h, 2w) of which PACKED (1, 4c, h, w) is pixel_unshuffle(2), or None."""
    if not packed.inputs or packed.inputs[0].op != "Reshape" or not only_reader(packed):
        return None
    turned = packed.inputs[0].inputs[0]
    if not turned.inputs or turned.inputs[0].op != "Transpose" or turned.inputs[0].attrs["perm"] != [0, 1, 3, 5, 2, 4]:
        return None
    split = turned.inputs[0].inputs[0]
    if not split.inputs or split.inputs[0].op != "Reshape":
        return None
    image = split.inputs[0].inputs[0]
    n, channels, h, w = packed.shape
    c = channels // 4
    is_packed = list(split.shape) == [n, c, h, 2, w, 2] and list(image.shape) == [n, c, 2 * h, 2 * w]
    return image if is_packed and c <= MOST_CHANNELS else None


def _split(graph: gs.Graph, conv: gs.Node, parts: list[gs.Tensor], images: dict[int, gs.Tensor]) -> gs.Variable:
    name, weight, shape = f"{conv.name}/unpacked", conv.inputs[1], list(conv.outputs[0].shape)
    maps: list[gs.Tensor] = []
    map_kernels: list[gs.Tensor] = []
    sources: list[gs.Tensor] = []
    image_kernels: list[gs.Tensor] = []
    begin, o = 0, weight.shape[0]
    for part in parts:
        end = begin + part.shape[1]
        bounds = [constant(f"{name}/{k}{begin}", [v]) for k, v in (("from", begin), ("to", end), ("axis", 1))]
        kernel = make(graph, "Slice", f"{name}/weight{begin}", [weight, *bounds], [o, end - begin, 3, 3])
        if id(part) in images:
            sources.append(images[id(part)])
            image_kernels.append(_wide_kernel(graph, kernel, f"{name}/wide{begin}"))
        else:
            maps.append(part)
            map_kernels.append(kernel)
        begin = end
    of_maps = _convolve(graph, f"{name}/maps", maps, map_kernels, conv.inputs[2:], shape, pads=[1] * 4)
    of_images = _convolve(graph, f"{name}/images", sources, image_kernels, [], shape, pads=[2] * 4, strides=[2, 2])
    return make(graph, "Add", f"{name}/whole", [of_images, of_maps], shape)


def _wide_kernel(graph: gs.Graph, kernel: gs.Variable, name: str) -> gs.Variable:
    """KERNEL (o, 4c, 3, 3) of packed pixels as (o, c, 6, 6) of the image: tap (2a + y, 2b + x) is channel (y, x)'s (a, b)."""
    o, channels = kernel.shape[:2]
    c = channels // 4
    shapes = {"split": [o, c, 2, 2, 3, 3], "whole": [o, c, 6, 6]}
    split = make(
        graph, "Reshape", f"{name}/split", [kernel, constant(f"{name}/split.shape", shapes["split"])], shapes["split"]
    )
    turned = make(graph, "Transpose", f"{name}/turned", [split], [o, c, 3, 2, 3, 2], perm=[0, 1, 4, 2, 5, 3])
    return make(
        graph, "Reshape", f"{name}/whole", [turned, constant(f"{name}/whole.shape", shapes["whole"])], shapes["whole"]
    )


def _convolve(
    graph: gs.Graph, name: str, parts: list[gs.Tensor], kernels: list[gs.Tensor], bias: list[gs.Tensor], shape: list[int],
    **attributes: list[int],
) -> gs.Variable:  # fmt: skip
    """One convolution of PARTS, concatenated, by KERNELS, concatenated."""
    x, kernel = parts[0], kernels[0]
    if len(parts) > 1:
        channels = sum(p.shape[1] for p in parts)
        n, _, h, w = x.shape
        o, _, *size = kernel.shape
        x = make(graph, "Concat", f"{name}/input", parts, [n, channels, h, w], axis=1)
        kernel = make(graph, "Concat", f"{name}/weight", kernels, [o, channels, *size], axis=1)
    return make(graph, "Conv", name, [x, kernel, *bias], shape, **attributes)
