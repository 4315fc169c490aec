"""Replace a data set's keypoints by what the runtime's pose estimator sees in the pictures.

A network meets MoveNet's keypoints when it is used, and those differ from a renderer's joints (shoulders lie 7 pixels
higher at 256x192) and from OpenPose's. Training on estimated keypoints removes that gap. MPV's own keypoints are an
estimator's too. The keypoints that were there are kept in pose_exact/.
"""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton.errors import SpgvtonError
from spgvton.files import make_folder, write_bytes, write_text
from spgvton.perception.pose import PoseEstimator
from spgvton.video import cv2

_ENLARGE = 2  # a camera shows the person larger than the network's 256x192; MoveNet resamples to 192x192 anyway


def estimate_poses(root: str | Path) -> int:
    """Estimate the keypoints of every person picture under ROOT that was not done yet. Returns how many were done.

    Raises SpgvtonError when a picture cannot be read or the folder not written. A picture in which no person is found
    keeps its keypoints.
    """
    folder = Path(root)
    files = sorted((folder / "pose_coco").glob("*/*_keypoints.json"))
    if not files:
        raise SpgvtonError(f"{folder} has no pose_coco/*/*_keypoints.json: is it a data set in MPV layout?")
    todo = [f for f in files if not (folder / "pose_exact" / f.parent.name / f.name).exists()]
    estimator = PoseEstimator(smooth=False)
    for file in tqdm(todo, desc="estimate pose", unit="picture"):
        photo = folder / "images" / file.parent.name / (file.name.removesuffix("_keypoints.json") + ".jpg")
        picture = im.read(photo)
        large = cv2.resize(picture, None, fx=_ENLARGE, fy=_ENLARGE, interpolation=cv2.INTER_CUBIC)
        estimator.reset()
        estimator(large)
        found = estimator(large)  # the second look uses the crop region of the first, as in a stream
        # The exact file is kept first: a run that is interrupted between the two writes loses nothing.
        write_bytes(make_folder(folder / "pose_exact" / file.parent.name) / f"{file.name}.part", file.read_bytes())
        if (found[:, 2] > 0).any():
            found[:, :2] = (found[:, :2] + 0.5) / _ENLARGE - 0.5
            write_text(file, kp.to_openpose(found))
        kept = folder / "pose_exact" / file.parent.name / file.name
        kept.with_name(f"{file.name}.part").rename(kept)
    return len(todo)
