"""One picture of a data set: per item the garment, its mask, and per photo the picture, labels, pose, garment by flow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spgvton import image, keypoints, labels
from spgvton.video import cv2
from spgvton_training.synthetic.dataset import find_item
from spgvton_training.synthetic.flow import read_flow

UInt8 = NDArray[np.uint8]


def draw_pose(picture: UInt8, points: NDArray[np.float32]) -> UInt8:
    """The skeleton over a dimmed copy of PICTURE (H, W, 3)."""
    out = (picture * 0.45).astype(np.uint8)
    unit = picture.shape[0] / 256
    at = [(round(float(x)), round(float(y))) for x, y, _ in points]
    for i, (a, b) in enumerate(keypoints.SKELETON):
        if points[a, 2] > 0 and points[b, 2] > 0:
            hue = np.array([[[i * 10, 255, 255]]], np.uint8)
            colour = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
            cv2.line(out, at[a], at[b], colour, max(1, round(2 * unit)), cv2.LINE_AA)
    for point in np.flatnonzero(points[:, 2] > 0):
        cv2.circle(out, at[point], max(1, round(2 * unit)), (255, 255, 255), -1, cv2.LINE_AA)
    return out


def warp_garment(garment: UInt8, flow: NDArray[np.float32]) -> UInt8:
    """GARMENT (H, W, 3) sampled by FLOW (H, W, 2); white where that is NaN."""
    valid = np.isfinite(flow).all(-1)
    x, y = (np.ascontiguousarray(np.where(valid, flow[..., i], 0), np.float32) for i in (0, 1))
    out = cv2.remap(garment, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    out[~valid] = 255
    return out


def contact_sheet(root: Path, items: list[str]) -> UInt8:
    """The sheet (H, W, 3) of the given complete ITEMS, one row each, read back from their files."""
    rows = []
    for item in items:
        found = find_item(root, item)
        cells = []
        for name, photos in (("a", "AB"), ("b", "C")):
            photos = "".join(p for p in photos if p in found)
            if name not in found or not photos:
                continue
            garment = image.read(root / "images" / found[name])
            mask = image.read(root / "cloth_mask" / found[name].replace(".jpg", "_mask.png"))
            cells += [garment, mask]
            for photo in photos:
                path = found[photo]
                picture = image.read(root / "images" / path)
                semantic = image.read(root / "parse_cihp" / path.replace(".jpg", ".png"), flags=cv2.IMREAD_GRAYSCALE)
                points = keypoints.load_openpose(root / "pose_coco" / path.replace(".jpg", "_keypoints.json"))
                flow = read_flow(root / "flow" / path.replace(".jpg", ".png"))
                cells += [picture, labels.colourise(semantic), draw_pose(picture, points), warp_garment(garment, flow)]
        rows.append(np.hstack([np.pad(c, ((2, 2), (2, 2), (0, 0)), constant_values=90) for c in cells]))
    width = max(r.shape[1] for r in rows)
    return np.vstack([np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=90) for r in rows])
