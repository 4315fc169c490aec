"""The shortcuts of the converter are exact, and the shipped model says what TensorFlow Lite says.

The whole conversion runs where `tflite` and `ai-edge-litert` are installed and SPGVTON_TFLITE names
selfie_multiclass_256x256.tflite; elsewhere the shipped model is compared with what TensorFlow Lite gave for a test picture.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from spgvton import image
from spgvton.perception.onnx_session import open_session, shipped_model

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.ascontiguousarray(image.read(DATA / "person_front.jpg")[:256, 1:257])


def test_the_shipped_model_says_what_tflite_says(picture: np.ndarray) -> None:
    truth = np.load(DATA / "selfie_multiclass_tflite.npz")["logits"].astype(np.float32)  # every eighth pixel, NHWC
    session = open_session(shipped_model("selfie_multiclass.onnx"), 1)
    logits = session.run(None, {"picture": picture[None]})[0][0].transpose(1, 2, 0)[4::8, 4::8]
    assert np.abs(logits - truth).max() < 0.1  # float16 weights: 0.02; JPEG decoders differ by a grey level
    assert (logits.argmax(2) == truth.argmax(2)).mean() > 0.995


def test_a_conversion_gives_the_same_bytes_and_answers(picture: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("tflite")
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    source = os.environ.get("SPGVTON_TFLITE")
    if not source:
        pytest.skip("SPGVTON_TFLITE does not name selfie_multiclass_256x256.tflite")
    from tflite_to_onnx import convert

    made = convert(Path(source)).SerializeToString(deterministic=True)
    assert made == shipped_model("selfie_multiclass.onnx").read_bytes()
    interpreter = litert.Interpreter(source)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[None].astype(np.float32) / 255)
    interpreter.invoke()
    truth = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).transpose(0, 3, 1, 2)
    logits = ort.InferenceSession(made).run(None, {"picture": picture[None]})[0]
    assert np.abs(logits - truth).max() < 0.05


def test_folded_layers_compute_the_same() -> None:
    pytest.importorskip("tflite")
    from tflite_layers import Layer, fold_scales, fold_upsampling

    rng = np.random.default_rng(0)
    scale = Layer("CONV_2D", [0], 1, (1, 4, 4, 3), weights=rng.normal(size=(3, 1, 1, 1)).astype(np.float32),
                  bias=rng.normal(size=3).astype(np.float32), groups=3)  # fmt: skip
    mix = Layer("CONV_2D", [1], 2, (1, 4, 4, 5), weights=rng.normal(size=(5, 3, 1, 1)).astype(np.float32),
                bias=rng.normal(size=5).astype(np.float32))  # fmt: skip
    x = rng.normal(size=3)
    true = mix.weights[:, :, 0, 0] @ (scale.weights[:, 0, 0, 0] * x + scale.bias) + mix.bias
    (folded,) = fold_scales([scale, mix])
    assert folded.inputs == [0]
    np.testing.assert_allclose(folded.weights[:, :, 0, 0] @ x + folded.bias, true, atol=1e-5)

    grow = Layer("TRANSPOSE_CONV", [0], 1, (1, 8, 8, 4), weights=rng.normal(size=(4, 3, 2, 2)).astype(np.float32),
                 bias=rng.normal(size=4).astype(np.float32))  # fmt: skip
    last = Layer("CONV_2D", [1], 2, (1, 8, 8, 2), weights=rng.normal(size=(2, 4, 1, 1)).astype(np.float32),
                 bias=rng.normal(size=2).astype(np.float32))  # fmt: skip
    block = np.einsum("miyx,i->myx", grow.weights, x) + grow.bias[:, None, None]
    true = np.einsum("om,myx->oyx", last.weights[:, :, 0, 0], block) + last.bias[:, None, None]
    (folded,) = fold_upsampling([grow, last])
    assert folded.kind == "UPSAMPLING"
    np.testing.assert_allclose((folded.weights[:, :, 0, 0] @ x + folded.bias).reshape(2, 2, 2), true, atol=1e-5)
