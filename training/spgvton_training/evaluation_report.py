"""results.csv, results.md and scores.png of an evaluation."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton import image as im
from spgvton.files import write_text
from spgvton.video import cv2
from spgvton_training.evaluate import Evaluation

UInt8 = NDArray[np.uint8]

LABELS: Final[dict[str, str]] = {
    "ssim": "SSIM ↑",
    "ssim_coarse": "SSIM, coarse result only ↑",
    "ssim_copy_source": "SSIM, source without clothes copied ↑",
    "psnr": "PSNR, dB ↑",
    "mask_ssim.face": "Mask-SSIM, face ↑",
    "mask_ssim.clothes": "Mask-SSIM, clothes ↑",
    "mask_ssim.without_clothes": "Mask-SSIM, without clothes ↑",
    "region_ssim.face": "SSIM inside the region, face ↑",
    "region_ssim.clothes": "SSIM inside the region, clothes ↑",
    "region_ssim.without_clothes": "SSIM inside the region, without clothes ↑",
    "clothes_mask_iou": "clothes mask IoU ↑",
    "semantic_miou": "semantic map mIoU ↑",
    "lpips": "LPIPS ↓",
    "is": "IS ↑",
    "mask_is.face": "Mask-IS, face ↑",
    "mask_is.clothes": "Mask-IS, clothes ↑",
    "mask_is.without_clothes": "Mask-IS, without clothes ↑",
    "real_is": "IS of the real photos",
    "real_mask_is.face": "Mask-IS of the real photos, face",
    "real_mask_is.clothes": "Mask-IS of the real photos, clothes",
    "real_mask_is.without_clothes": "Mask-IS of the real photos, without clothes",
    "fid": "FID ↓",
    "kid": "KID ↓",
}
_REAL: Final = {
    "real_is": (3.391, 0.024), "real_mask_is.face": (2.255, 0.030), "real_mask_is.clothes": (5.094, 0.084),
}  # fmt: skip
# Table IV, MPV: "Ours (full)" and "w/ S_t"; Mask-SSIM without clothes is Table III's, on part of the test set.
PAPER: Final[dict[str, tuple[float, float]]] = {
    "ssim": (0.752, 0.084), "mask_ssim.face": (0.801, 0.127), "mask_ssim.clothes": (0.872, 0.076),
    "mask_ssim.without_clothes": (0.745, 0.042), "is": (3.243, 0.127), "mask_is.face": (1.982, 0.024),
    "mask_is.clothes": (5.057, 0.064), **_REAL,
}  # fmt: skip
PAPER_TRUE_MAPS: Final[dict[str, tuple[float, float]]] = {
    "ssim": (0.788, 0.080), "mask_ssim.face": (0.893, 0.081), "mask_ssim.clothes": (0.923, 0.063),
    "is": (3.165, 0.028), "mask_is.face": (2.070, 0.013), "mask_is.clothes": (5.186, 0.071), **_REAL,
}  # fmt: skip

_NOTES: Final = """\
Mean ± standard deviation over the pictures; of IS over 10 splits, of KID over subsets. The paper's figures are those of
Table IV on MPV (Mask-SSIM without clothes: Table III, a part of MPV's test set). **The data sets differ unless the data
above are MPV: then the columns do not compare.** IS, FID and KID move with the number of pictures; FID of fewer than a
few thousand is biased upwards.

- Mask-SSIM, the paper's: outside the region both pictures are black, SSIM is averaged over the whole picture.
  (*) The paper's face figure cannot have been measured so: a face covers too little of a picture to cost 0.2. Perhaps
  faces were cut out first; do not compare it.
- SSIM inside the region, stricter: the SSIM map of the untouched pictures, averaged inside the region only.
- Regions come from the target's map: face = face and hair, clothes, without clothes = all but the clothes.
- SSIM: 11x11 Gaussian window, sigma 1.5, RGB, as scikit-image's `gaussian_weights=True, use_sample_covariance=False`.
"""


def flatten(summary: dict[str, Any]) -> Iterator[tuple[str, float | None, float | None]]:
    """(metric, mean, std or None) of every metric in SUMMARY, in the order of LABELS; nested ones as "group.name"."""
    for key in LABELS:
        mean, found = _look_up(summary, key)
        if found:
            yield key, mean, _look_up(summary["std"], key)[0]


def _look_up(nested: dict[str, Any], key: str) -> tuple[float | None, bool]:
    """The value of "group.name" or "name", and whether there is one (it may be None: no picture has the region)."""
    group, _, name = key.partition(".")
    inner = nested.get(group, {}) if name else nested
    return inner.get(name or group), (name or group) in inner


def number(mean: float | None, std: float | None) -> str:
    """ "0.752 ± 0.084"; small numbers (KID) with more digits."""
    if mean is None:
        return "–"
    digits = 3 if abs(mean) >= 0.1 else 5
    return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")


def table_csv(rows: list[dict[str, Any]]) -> str:
    """One line per triple with all its scores; empty where a region is."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: _cell(v) for k, v in row.items()})
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value


def table_md(summary: dict[str, Any], about: dict[str, str], *, true_maps: bool = False) -> str:
    """The result table beside the paper's. about: lines on checkpoint, data, command, versions."""
    paper = PAPER_TRUE_MAPS if true_maps else PAPER
    row = "w/ S_t" if true_maps else "full"
    lines = ["# Evaluation", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    lines += [f"- pictures: {summary['n']}"]
    empty = [f"{name} in {count}" for name, count in summary["empty_regions"].items() if count]
    lines += [f"- left out of a region's scores, because the region is empty: {', '.join(empty)}"] if empty else []
    lines += ["", f"| metric | mean ± std | paper on MPV ({row}) |", "|---|---|---|"]
    lines += [
        f"| {LABELS[key]} | {number(mean, std)} | {number(*paper[key]) if key in paper else ''}"
        f"{' (*)' if key == 'mask_ssim.face' else ''} |"
        for key, mean, std in flatten(summary)
    ]
    lines += ["", _NOTES]
    if summary["missing_because"]:
        lines += ["Not measured:", ""]
        lines += [f"- {key}: {reason}" for key, reason in summary["missing_because"].items()]
    return "\n".join(lines).rstrip() + "\n"


def histograms(rows: list[dict[str, Any]], *, bins: int = 24) -> UInt8:
    """The distribution of every per-picture score, small pictures (H, W, 3) three in a row; the line is the mean."""
    keys = [k for k, v in rows[0].items() if isinstance(v, float)]
    h, w, margin = 130, 330, 14
    sheet = np.full((-(-len(keys) // 3) * h, 3 * w, 3), 255, np.uint8)
    for i, key in enumerate(keys):
        values = np.array([r[key] for r in rows if math.isfinite(r[key])])
        top, left = i // 3 * h, i % 3 * w
        _text(sheet, key, (left + margin, top + 16))
        if len(values) == 0:
            continue
        low, high = (0.0, 1.0) if values.min() >= 0 and values.max() <= 1 else (values.min(), values.max())
        counts, _ = np.histogram(values, bins, (low, high))
        base, span, tall = top + h - 26, w - 2 * margin, h - 52
        for b, count in enumerate(counts):
            x0, x1 = (left + margin + round(n * span / bins) for n in (b, b + 1))
            y = base - round(count / counts.max() * tall)
            cv2.rectangle(sheet, (x0, y), (x1 - 2, base), (90, 130, 190), -1)
        x = left + margin + round((values.mean() - low) / max(high - low, 1e-9) * span)
        cv2.line(sheet, (x, base - tall), (x, base), (200, 60, 40), 2)
        _text(sheet, f"{low:.3g}", (left + margin, base + 16))
        _text(sheet, f"{high:.3g}", (left + w - margin - 36, base + 16))
        _text(sheet, f"{values.mean():.3f} +- {values.std():.3f}", (left + w // 2 - 50, base + 16))
    return sheet


def _text(sheet: UInt8, text: str, at: tuple[int, int]) -> None:
    cv2.putText(sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)


def write_report(out: Path, evaluation: Evaluation, about: dict[str, str], *, true_maps: bool = False) -> list[Path]:
    """Write results.csv, results.md and, where pictures have scores, scores.png into folder OUT. Raises SpgvtonError."""
    files = [out / "results.csv", out / "results.md"]
    write_text(files[0], table_csv(evaluation.rows))
    write_text(files[1], table_md(evaluation.summary, about, true_maps=true_maps))
    if "ssim" in evaluation.rows[0]:
        files.append(out / "scores.png")
        im.write(files[-1], histograms(evaluation.rows))
    return files
