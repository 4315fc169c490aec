"""A video in another garment, through the real loop: python examples/run_clip.py [CLIP GARMENT OUT]

Without arguments the shipped clip and garment, to clip.mp4. CLIP may be a camera, too (0, rtsp://...): then OUT grows until Ctrl-C.
"""

from __future__ import annotations

import sys

from spgvton import DemoAssets, LiveTryOn, image, open_source, run_loop
from spgvton.stream.compose import Composer
from spgvton.stream.live_stage import LiveStage
from spgvton.stream.sinks import open_sink
from spgvton.stream.stages import PoseStage


def main(clip: str, garment: str, out: str, frames: int | None = None) -> None:
    live = LiveTryOn()
    live.set_garment(image.read(garment))
    source = open_source(clip)
    composer = Composer(source.size, layout="result", live=True)  # what is written: the dressed frame alone
    sink = open_sink(f"file:{out}", composer.size, source.fps)
    stage = LiveStage(live, latest=source.live)  # a camera's frames do not wait for the networks
    report = run_loop(source, PoseStage(live=True), stage, composer, [sink], max_frames=frames)
    stage.close()
    live.close()
    print(report.summary())


if __name__ == "__main__":
    folder = DemoAssets.open().folder
    main(*(sys.argv[1:4] or [str(folder / "clip.mp4"), str(folder / "garment_2.jpg"), "clip.mp4"]))
