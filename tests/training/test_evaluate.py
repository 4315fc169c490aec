"""`spgvton evaluate` on a tiny rendered test split: keys, files, options, weights by path, and what goes wrong."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spgvton import image as im
from spgvton.bundle import sha256
from spgvton.cli import main
from spgvton.errors import SpgvtonError, UsageError
from spgvton_training import evaluation_report as report
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.cli.evaluate import exchange_garments, parse_device
from spgvton_training.data.mpv import MPV, collate
from spgvton_training.evaluate import Settings, evaluate, predict, true_maps
from spgvton_training.networks.config import preset
from spgvton_training.networks.joint import JointModel, build_model
from spgvton_training.pretrained.inception import Inception, resize
from spgvton_training.pretrained.lpips import KINDS, LPIPS
from spgvton_training.sheet import COLUMNS, stages

SIZE = (128, 96)
TINY = preset("mini", ngf=4, gmm_ngf=4, height=SIZE[0], width=SIZE[1])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mpv")
    options = ["--count", "2", "--seed", "5", "--size", "128x96", "--unpaired", "--split", "test"]
    assert main(["synth", "--out", str(folder), *options]) == 0
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("model") / "m.safetensors"
    Checkpoint(TINY, dict(build_model(TINY).state_dict())).save(file)
    return file


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the published file's layout and size (96 MB), batch statistics fitting."""
    torch.manual_seed(0)
    network = Inception()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.rand(2, 3, 64, 48) * 2 - 1)
    file = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save(network.state_dict(), file)
    return file


@pytest.fixture(scope="module")
def alex_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random AlexNet in torchvision's layout, its classifier's tensors included."""
    torch.manual_seed(0)
    body = nn.Sequential(*KINDS[0].build())
    file = tmp_path_factory.mktemp("alex") / "alexnet.pth"
    torch.save({**{f"features.{k}": v for k, v in body.state_dict().items()}, "classifier.6.bias": torch.ones(9)}, file)
    return file


def model() -> JointModel:
    torch.manual_seed(0)
    return build_model(TINY).eval()


def test_verb_writes_everything(
    data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, sheet = tmp_path / "new" / "results", tmp_path / "sheet.png"
    arguments = ["evaluate", "--checkpoint", str(checkpoint), "--data", str(data), "--rows", "3", "--batch", "3"]
    assert main([*arguments, "--json", "--sheet", str(sheet), "--out", str(out)]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["n"] == 4
    assert 0 < scores["ssim"] < 1 and set(scores["mask_ssim"]) == {"face", "clothes", "without_clothes"}
    assert scores["mask_ssim"].keys() == scores["region_ssim"].keys() == scores["std"]["mask_ssim"].keys()
    assert scores["region_ssim"]["face"] < scores["mask_ssim"]["face"]
    assert {"psnr", "clothes_mask_iou", "semantic_miou", "ssim_coarse", "ssim_copy_source"} <= set(scores)
    assert scores["missing"] == ["lpips", "is", "mask_is", "fid", "kid"] and not set(scores["missing"]) & set(scores)
    assert "--inception-weights" in scores["missing_because"]["fid"]

    with (out / "results.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 4 and len({(r["source"], r["target"]) for r in rows}) == 4
    for key in ("ssim", "mask_ssim.clothes", "region_ssim.face", "clothes_mask_iou"):
        column = np.array([float(r[key]) for r in rows])
        group, _, name = key.partition(".")
        mean, std = (s[group][name] if name else s[group] for s in (scores, scores["std"]))
        assert abs(column.mean() - mean) < 1e-4 and abs(column.std() - std) < 1e-4
    text = (out / "results.md").read_text()
    assert f"| SSIM ↑ | {report.number(scores['ssim'], scores['std']['ssim'])} | 0.752 ± 0.084 |" in text
    assert "give --lpips-weights FILE" in text and "data sets differ" in text and "sha256" in text
    height = 26 + 3 * (SIZE[0] + 4)
    for file in (sheet, out / "sheet.png"):
        assert im.read(file).shape == (height, len(COLUMNS) * (SIZE[1] + 4) - 4, 3)
    assert im.read(out / "scores.png").std() > 10
    assert not [p for p in out.iterdir() if p.name.startswith(".")], "no temporary file is left"


def test_batches_and_workers_change_nothing(data: Path) -> None:
    sets = MPV(data, "test", size=SIZE)
    one = evaluate(model(), sets, Settings(batch=1))
    two = evaluate(model(), sets, Settings(batch=3, workers=1))
    for a, b in zip(one.rows, two.rows):
        assert a.keys() == b.keys()
        assert all(math.isclose(a[k], b[k], abs_tol=1e-4) if isinstance(a[k], float) else a[k] == b[k] for k in a)
    assert one.summary["semantic_miou"] == pytest.approx(two.summary["semantic_miou"], abs=1e-3)
    assert evaluate(model(), sets, Settings(limit=2)).summary["n"] == 2


def test_a_perfect_network_scores_perfectly(data: Path) -> None:
    """A model whose stages() hand out the ground truth."""
    sets = MPV(data, "test", size=SIZE)
    samples = [sets[i] for i in range(len(sets))]
    answers = iter(samples)

    class Perfect(JointModel):
        def stages(self, inputs: Any) -> Any:
            sample = next(answers)
            made = super().stages(inputs)
            semantic = nn.functional.one_hot(sample.target_labels, 20).permute(2, 0, 1)[None].float()
            clothes = torch.isin(sample.target_labels, torch.tensor([5, 6, 7]))[None, None].float()
            return made._replace(
                semantic=semantic,
                coarse=made.coarse._replace(mask=clothes),
                final=made.final._replace(image=sample.target[None]),
            )

    found = evaluate(Perfect(TINY), sets, Settings(batch=1)).summary
    assert found["ssim"] == found["clothes_mask_iou"] == found["semantic_miou"] == 1 and found["psnr"] == 100
    assert set(found["mask_ssim"].values()) == set(found["region_ssim"].values()) == {1.0}
    assert found["std"]["ssim"] == 0 and found["ssim_copy_source"] < 1


def test_true_maps_replace_the_predicted_ones(data: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = MPV(data, "test", size=SIZE)
    batch, network = collate([sets[0], sets[1]]), model()
    with torch.no_grad():
        before, labels = predict(network, batch, Settings())
        made, given = predict(network, batch, Settings(true_maps=True))
        after, _ = predict(network, batch, Settings())
    assert labels is not None and given is not None and made.semantic is not None
    accuracy = [(x == batch.target_labels).float().mean() for x in (labels, given)]
    assert accuracy[0] < 0.5 and accuracy[1] > 0.97, "what is lost is half resolution"
    assert torch.allclose(made.semantic.sum(1), torch.ones(())) and not torch.equal(
        made.final.image, before.final.image
    )
    assert torch.equal(after.final.image, before.final.image), "the hook is gone"
    with pytest.raises(ZeroDivisionError), true_maps(network, batch.target_labels):
        raise ZeroDivisionError
    assert not network.g1._forward_hooks

    arguments = ["evaluate", "--checkpoint", str(checkpoint), "--data", str(data), "--json", "--true-maps"]
    assert main(arguments) == 0
    scores = json.loads(capsys.readouterr().out)
    assert "semantic_miou" in scores["missing"] and "semantic_miou" not in scores and 0 < scores["ssim"] < 1


def test_unpaired_has_a_truth(data: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--checkpoint", str(checkpoint), "--data", str(data), "--json", "--unpaired"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["n"] == 8 and 0 < scores["ssim"] < 1


def test_without_truth_only_distributions_are_left(
    data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "--checkpoint", str(checkpoint), "--data", str(data), "--no-truth", "--json"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["n"] == 4 and "ssim" not in scores
    assert {"ssim", "mask_ssim", "psnr", "semantic_miou", "fid"} <= set(scores["missing"])
    assert "drawn at random" in (tmp_path / "results.md").read_text()
    assert not (tmp_path / "scores.png").exists()


def test_exchanged_garments_are_never_the_worn_ones(data: Path) -> None:
    own, sets = MPV(data, "test", size=SIZE), MPV(data, "test", size=SIZE)
    exchange_garments(sets)
    assert all(a.cloth != b.cloth and a.target == b.target for a, b in zip(own.triples, sets.triples))
    again = MPV(data, "test", size=SIZE)
    exchange_garments(again)
    assert again.triples == sets.triples
    own.triples = own.triples[:1]
    with pytest.raises(UsageError, match="two different garments"):
        exchange_garments(own)


def test_an_empty_region_is_left_out_and_counted(data: Path) -> None:
    class Headless(MPV):
        def __getitem__(self, key: Any) -> Any:
            sample = super().__getitem__(key)
            labels = sample.target_labels
            return sample if key == 0 else sample._replace(target_labels=labels * (labels != 13) * (labels != 2))

    class AllHeadless(Headless):
        def __getitem__(self, key: Any) -> Any:
            return super().__getitem__((key, 0))

    found = evaluate(model(), Headless(data, "test", size=SIZE))
    assert found.summary["empty_regions"] == {"face": 3, "clothes": 0, "without_clothes": 0}
    assert found.summary["mask_ssim"]["face"] == pytest.approx(found.rows[0]["mask_ssim.face"], abs=1e-4)
    assert math.isnan(found.rows[1]["mask_ssim.face"])
    assert report.table_csv(found.rows).splitlines()[2].count(",,") >= 1
    assert "left out of a region's scores, because the region is empty: face in 3" in report.table_md(found.summary, {})
    none = evaluate(model(), AllHeadless(data, "test", size=SIZE))
    assert none.summary["mask_ssim"]["face"] is None and "mask_ssim.face" in none.summary["missing"]
    json.dumps(none.summary, allow_nan=False)
    assert "| Mask-SSIM, face ↑ | – |" in report.table_md(none.summary, {})
    assert report.histograms(none.rows).ndim == 3


def test_a_network_that_is_not_finite_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = model()
    with torch.no_grad():
        network.g3.conv11.weight.fill_(float("nan"))
    file = tmp_path / "nan.safetensors"
    Checkpoint(TINY, dict(network.state_dict())).save(file)
    assert main(["evaluate", "--checkpoint", str(file), "--data", str(data), "--out", str(tmp_path / "out")]) == 1
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("spgvton evaluate:")]
    assert len(error) == 1 and "not finite" in error[0] and "--checkpoint" in error[0]
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "options", [["--limit", "0"], ["--batch", "0"], ["--rows", "0"], ["--workers", "-1"], ["--device", "nonsense"],
                ["--device", "cuda:77"], ["--lpips-heads", "x.pth"]],
)  # fmt: skip
def test_wrong_use(data: Path, checkpoint: Path, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--checkpoint", str(checkpoint), "--data", str(data), *options]) == 2
    assert options[0] in capsys.readouterr().err
    assert parse_device("cpu") == torch.device("cpu")


def test_a_folder_that_cannot_be_made_is_told_before_the_work(
    data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    out = tmp_path / "file" / "results"
    assert main(["evaluate", "--checkpoint", str(checkpoint), "--data", str(data), "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert f"cannot create folder {out}" in error and "picture" not in error, "no progress bar yet"


def test_weights_by_path(
    data: Path, checkpoint: Path, inception_file: Path, alex_file: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    weights = ["--inception-weights", str(inception_file), "--lpips-weights", str(alex_file)]
    arguments = ["evaluate", "--checkpoint", str(checkpoint), "--data", str(data), "--limit", "1", "--json"]
    assert main([*arguments, *weights, "--out", str(tmp_path), "--rows", "1"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["lpips"] > 0 and "lpips" not in scores["missing"]
    assert {"is", "mask_is.face", "real_is", "fid", "kid"} <= set(scores["missing"])
    assert "need at least 100 pictures, there are 1" in scores["missing_because"]["is"]
    text = (tmp_path / "results.md").read_text()
    assert sha256(inception_file) in text and "| LPIPS ↓ |" in text


def test_inception_sees_8_bit_pictures_and_resizes_as_tensorflow_1(inception_file: Path) -> None:
    network = Inception.load(inception_file)
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    image = torch.rand(1, 3, 40, 30) * 2 - 1
    with torch.no_grad():
        features, logits = network(torch.cat([image, image + 0.1 / 127.5, -image]))
    assert features.shape == (3, 2048) and logits.shape == (3, 1008)
    assert (features[0] - features[2]).abs().max() > 0.1
    assert (features[0] - features[1]).abs().max() < 0.3 * (features[0] - features[2]).abs().max()
    ramp = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 2, 4)
    assert resize(ramp, 8)[0, 0, 0].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3], "no half-pixel shift"


def test_lpips_on_known_cases(alex_file: Path, tmp_path: Path) -> None:
    network = LPIPS.load(alex_file)
    assert network.kind.name == "alex"
    g = torch.Generator().manual_seed(0)
    a = torch.rand(2, 3, 64, 64, generator=g) * 2 - 1
    b = (a + 0.3 * torch.randn(a.shape, generator=g)).clamp(-1, 1)
    assert (network(a, a) == 0).all() and torch.allclose(network(a, b), network(b, a))
    assert (network(a, b) > 0).all() and (network(a, -a) > network(a, b)).all()
    # Heads of zeros but for one channel of the first activation leave that channel's squared difference.
    heads = {f"lin{i}.model.1.weight": torch.zeros(1, w, 1, 1) for i, w in enumerate(KINDS[0].widths)}
    heads["lin0.model.1.weight"][0, 7] = 2
    torch.save(heads, tmp_path / "heads.pth")
    x, y = ((t - torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1)) / torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1)
            for t in (a, b))  # fmt: skip
    first = [network.features[1](network.features[0](t)) for t in (x, y)]
    unit = [f / f.norm(dim=1, keepdim=True) for f in first]
    want = 2 * (unit[0] - unit[1])[:, 7].square().mean((1, 2))
    assert torch.allclose(LPIPS.load(alex_file, tmp_path / "heads.pth")(a, b), want, rtol=1e-4)


def test_vgg_is_told_from_alexnet(tmp_path: Path) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(*KINDS[1].build())
    torch.save({f"features.{k}": v for k, v in body.state_dict().items()}, tmp_path / "vgg16.pth")
    network = LPIPS.load(tmp_path / "vgg16.pth")
    assert network.kind.name == "vgg"
    assert float(network(torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64))) > 0


def test_foreign_and_damaged_weights_are_refused(alex_file: Path, inception_file: Path, tmp_path: Path) -> None:
    for load, message in (
        (Inception.load, "torchvision's Inception is another"),
        (LPIPS.load, "AlexNet or VGG-16 file"),
    ):
        torch.save({"fc.weight": torch.zeros(1000, 2048)}, tmp_path / "foreign.pth")
        with pytest.raises(SpgvtonError, match=message):
            load(tmp_path / "foreign.pth")
        with pytest.raises(SpgvtonError, match=r"nowhere\.pth"):
            load(tmp_path / "nowhere.pth")
    with pytest.raises(SpgvtonError, match="heads of LPIPS-alex: leave --lpips-heads out"):
        LPIPS.load(alex_file, alex_file)
    cut = tmp_path / "cut.pth"
    cut.write_bytes(inception_file.read_bytes()[:100_000])
    with pytest.raises(SpgvtonError, match=r"cut\.pth"):
        Inception.load(cut)


def test_sheet_shows_every_stage(data: Path) -> None:
    sets = MPV(data, "test", size=SIZE)
    rows = stages(model(), collate([sets[0], sets[1]]))
    assert len(rows) == 2 and all(len(row) == len(COLUMNS) for row in rows)
    assert all(p.shape == (*SIZE, 3) and p.dtype == np.uint8 for row in rows for p in row)
    assert np.array_equal(rows[0][-1], sets.photo(sets.triples[0].target).picture)
