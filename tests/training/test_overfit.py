"""Eight triplets, learnt by heart: what the networks, the losses and the stages can do when data is no limit."""

from pathlib import Path

import pytest

from spgvton.cli import main
from spgvton_training.config import run_preset
from spgvton_training.data.layout import read_pairs
from spgvton_training.data.mpv import MPV
from spgvton_training.evaluate import Settings, evaluate
from spgvton_training.fabric import make_fabric
from spgvton_training.train import Trainer

SIZE = (96, 64)


@pytest.mark.slow
def test_three_stages_learn_eight_triplets_by_heart(tmp_path: Path) -> None:
    """SSIM > 0.95 with predicted maps, as `evaluate` scores it, from random weights.

    Two people: each in both poses in her own garment, and from both in another one. The recipe of `mini` without what keeps
    it from learning by heart (augmentation, tones, erasing), every batch all of the data.
    """
    assert main(["synth", "--out", str(tmp_path), "--count", "2", "--seed", "3", "--size", "96x64", "--unpaired"]) == 0
    triples = [t for t in read_pairs(tmp_path, "train", unpaired=True) if "-a@" in t.source]
    assert len(triples) == 8 and len({t.target for t in triples}) == 6
    config = run_preset("mini").with_values(
        {
            "network": {"height": SIZE[0], "width": SIZE[1]},
            "losses": {"erase_probability": 0.0, "true_mask_until": 0.0, "structure": 3.0},
            "optimiser": {
                "iterations": [60, 100, 400],
                "batch_sizes": [8, 8, 8],
                "learning_rates": [3e-3, 3e-3, 3e-3],
                "betas": [0.5, 0.99],
                "matching_iterations": 30,
                "matching_batch_size": 8,
                "warm_up": 10,
                "clip": None,
            },
            "data": {"augment": False, "tone": 0.0},
        }
    )
    run = Trainer(config, str(tmp_path), tmp_path / "run", triples, workers=0, fabric=make_fabric("cpu"))
    model = run.fit().model()
    data = MPV(tmp_path, "train", size=SIZE, triples=triples)
    scores = evaluate(model, data, Settings(batch=8)).summary
    assert scores["ssim_copy_source"] < 0.65, "the source is far from the answer"
    assert scores["ssim"] > 0.95, scores
