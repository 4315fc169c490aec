"""Label maps from files and from a user's network."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from spgvton.errors import SpgvtonError, UsageError
from spgvton.image import write
from spgvton.perception.parsing import LabelMapParser, OnnxParser

onnx = pytest.importorskip("onnx")  # only to build the networks that are tested
from onnx import TensorProto, helper, numpy_helper

DATA = Path(__file__).parents[1] / "data"
NOBODY = np.zeros((18, 3), np.float32)


def picture(h=40, w=30):
    return np.random.default_rng(0).integers(0, 256, (h, w, 3), dtype=np.uint8)


# ---- label maps


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def palette_png(labels: np.ndarray, depth: int = 8, filters: tuple[int, ...] = (0,), interlace: int = 0) -> bytes:
    """A palette PNG of LABELS whose lines use FILTERS in turn."""
    h, w = labels.shape
    bits = np.unpackbits(labels[..., None], axis=2)[..., 8 - depth :].reshape(h, -1)
    rows = np.packbits(bits, axis=1).astype(int)
    out, above = b"", np.zeros(rows.shape[1], int)
    for y, row in enumerate(rows):
        kind = filters[y % len(filters)]
        left, corner = np.r_[0, row[:-1]], np.r_[0, above[:-1]]
        p = left + above - corner
        distance = np.abs([p - left, p - above, p - corner])
        paeth = np.where(
            (distance[0] <= distance[1]) & (distance[0] <= distance[2]), left,
            np.where(distance[1] <= distance[2], above, corner),
        )  # fmt: skip
        guess = (np.zeros_like(row), left, above, (left + above) // 2, paeth)[kind % 5]
        out += bytes([kind]) + ((row - guess) % 256).astype(np.uint8).tobytes()
        above = row
    header = struct.pack(">IIBBBBB", w, h, depth, 3, 0, 0, interlace)
    colours = np.random.default_rng(1).integers(0, 256, 3 * 2**depth, dtype=np.uint8).tobytes()
    data = zlib.compress(out)
    parts = chunk(b"IHDR", header) + chunk(b"PLTE", colours) + chunk(b"IDAT", data[:50]) + chunk(b"IDAT", data[50:])
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b"")


@pytest.mark.parametrize("filters", [(0,), (1,), (2,), (3,), (4,), (4, 0, 3, 1, 2)])
@pytest.mark.parametrize("depth", [4, 8])
def test_palette_map_gives_indices_not_colours(tmp_path, filters, depth):
    labels = np.random.default_rng(0).integers(0, 2 ** min(depth, 4), (40, 31), dtype=np.uint8)
    (tmp_path / "map.png").write_bytes(palette_png(labels, depth, filters))
    np.testing.assert_array_equal(LabelMapParser(tmp_path / "map.png")(picture(40, 31), NOBODY), labels)


def test_grey_map(tmp_path):
    labels = np.random.default_rng(0).integers(0, 20, (40, 30), dtype=np.uint8)
    write(tmp_path / "map.png", labels)
    parser = LabelMapParser(tmp_path / "map.png", "lip")
    assert parser.label_set == "lip"
    np.testing.assert_array_equal(parser(picture(), NOBODY), labels)


def test_map_of_another_size_is_resized_by_nearest_pixel(tmp_path):
    labels = np.zeros((40, 30), np.uint8)
    labels[20:], labels[:, 15:] = 5, 9
    write(tmp_path / "map.png", labels)
    out = LabelMapParser(tmp_path / "map.png")(picture(80, 60), NOBODY)
    np.testing.assert_array_equal(out, np.kron(labels, np.ones((2, 2), np.uint8)))


def test_map_of_another_aspect_is_refused(tmp_path):
    write(tmp_path / "map.png", np.zeros((40, 30), np.uint8))
    with pytest.raises(SpgvtonError, match="has 30x40 pixels, but its picture 40x40"):
        LabelMapParser(tmp_path / "map.png")(picture(40, 40), NOBODY)


def test_label_37_is_named(tmp_path):
    labels = np.zeros((40, 30), np.uint8)
    labels[3, 4] = 37
    write(tmp_path / "map.png", labels)
    with pytest.raises(SpgvtonError, match="label id 37"):
        LabelMapParser(tmp_path / "map.png")


def test_unusable_map_files(tmp_path):
    write(tmp_path / "colour.png", picture())
    with pytest.raises(SpgvtonError, match="colour picture"):
        LabelMapParser(tmp_path / "colour.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(SpgvtonError, match="not a picture"):
        LabelMapParser(tmp_path / "text.png")
    with pytest.raises(SpgvtonError, match="cannot read"):
        LabelMapParser(tmp_path / "missing.png")
    with pytest.raises(SpgvtonError, match="label set"):
        LabelMapParser(tmp_path / "colour.png", "voc")
    good = palette_png(np.zeros((40, 30), np.uint8))
    for name, data in {
        "short": good[:60],
        "cut": good.replace(b"IDAT", b"IDAX"),
        "interlaced": palette_png(np.zeros((40, 30), np.uint8), interlace=1),
        "filter": palette_png(np.zeros((40, 30), np.uint8), filters=(9,)),
    }.items():
        (tmp_path / f"{name}.png").write_bytes(data)
        with pytest.raises(SpgvtonError, match="PNG"):
            LabelMapParser(tmp_path / f"{name}.png")


# ---- a user's network


def save(path, nodes, outputs, *, shape=(1, 3, 64, 48), kind=TensorProto.FLOAT, constants=()):
    graph = helper.make_graph(
        nodes, "parser", [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, dtype, dims) for name, dtype, dims in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def brightness_network(path, *, shape=(1, 3, 64, 48), channel=0, labels=False):
    """Label 13 where CHANNEL of the input is above 0, else 0; at half the input's resolution."""
    w = np.zeros((20, 3, 1, 1), np.float32)
    w[13, channel] = 1
    bias = np.full(20, -1e3, np.float32)
    bias[[0, 13]] = 0
    nodes = [
        helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "w", "b"], ["logits"]),
    ]
    outputs = [("features", TensorProto.FLOAT, (1, 5)), ("logits", TensorProto.FLOAT, (1, 20, None, None))]
    nodes.insert(0, helper.make_node("Identity", ["f"], ["features"]))
    if labels:
        nodes.append(helper.make_node("ArgMax", ["logits"], ["ids"], axis=1, keepdims=0))
        outputs[1] = ("ids", TensorProto.INT64, (1, None, None))
    return save(
        path, nodes, outputs, shape=shape, constants=[("w", w), ("b", bias), ("f", np.zeros((1, 5), np.float32))]
    )


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("size", [(64, 48), (200, 90), (33, 120)])
def test_network(tmp_path, labels, size):
    """Any picture size is fitted into the network's and brought back; channel 0 is blue by default."""
    h, w = size
    image = np.full((h, w, 3), 60, np.uint8)
    image[: h // 2, :, 2] = 255
    parser = OnnxParser(brightness_network(tmp_path / "net.onnx", labels=labels))
    out = parser(image, NOBODY)
    assert out.shape == (h, w) and out.dtype == np.uint8
    margin = int(4 * max(h / 64, w / 48)) + 1
    inner = out[:, margin:-margin]  # the network itself sees the border
    assert (inner[margin : h // 2 - margin] == 13).all() and (inner[h // 2 + margin :] == 0).all()
    red = OnnxParser(tmp_path / "net.onnx", bgr=False)
    assert (red(image, NOBODY) == 0).all()


@pytest.mark.parametrize(("normalisation", "expected"), [("imagenet", 0), ("symmetric", 0), ("unit", 13), ("raw", 13)])
def test_normalisation(tmp_path, normalisation, expected):
    image = np.full((64, 48, 3), 50, np.uint8)
    parser = OnnxParser(brightness_network(tmp_path / "net.onnx"), normalisation=normalisation)
    assert (parser(image, NOBODY) == expected).all()


def test_open_input_size_must_be_given(tmp_path):
    path = brightness_network(tmp_path / "net.onnx", shape=("n", 3, "h", "w"))
    with pytest.raises(SpgvtonError, match="leaves its input size open"):
        OnnxParser(path)
    assert OnnxParser(path, size=(64, 64))(picture(), NOBODY).shape == (40, 30)
    with pytest.raises(SpgvtonError, match="takes 64x48"):
        OnnxParser(brightness_network(tmp_path / "fixed.onnx"), size=(32, 32))


def test_other_signatures_are_refused(tmp_path):
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    f = TensorProto.FLOAT
    bad_output = save(tmp_path / "a.onnx", relu, [("y", f, (1, 3, 64, 48))])
    with pytest.raises(SpgvtonError, match=r"this model gives y \[1, 3, 64, 48\]"):
        OnnxParser(bad_output)
    vector = save(tmp_path / "b.onnx", relu, [("y", f, (1, 20))], shape=(1, 20))
    with pytest.raises(SpgvtonError, match="takes one float picture"):
        OnnxParser(vector)
    nhwc = save(tmp_path / "c.onnx", relu, [("y", f, (1, 64, 48, 3))], shape=(1, 64, 48, 3))
    with pytest.raises(SpgvtonError, match="takes one float picture"):
        OnnxParser(nhwc)
    squeeze = [helper.make_node("ReduceMean", ["x", "axis"], ["y"], keepdims=0)]
    fractions = save(tmp_path / "d.onnx", squeeze, [("y", f, (1, 64, 48))], constants=[("axis", np.array([1]))])
    with pytest.raises(SpgvtonError, match="fractions"):
        OnnxParser(fractions)(picture(), NOBODY)
    with pytest.raises(SpgvtonError, match="label id"):
        OnnxParser(fractions, normalisation="raw")(np.full((64, 48, 3), 37, np.uint8), NOBODY)
    with pytest.raises(UsageError, match="normalisation"):
        OnnxParser(bad_output, normalisation="caffe")


def test_files_that_are_not_onnx(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"PK\x03\x04 a checkpoint")
    with pytest.raises(SpgvtonError, match="not an ONNX model"):
        OnnxParser(tmp_path / "weights.pth")
    with pytest.raises(SpgvtonError, match="missing"):
        OnnxParser(tmp_path / "nothing.onnx")
