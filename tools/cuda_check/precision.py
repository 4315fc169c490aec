"""The joint network on the GPU in TF32, float16 and bfloat16 against float32: what spgvton.bench.parity.TOLERANCES should be.

Step 8 of tools/cuda_check.sh. The shipped weights on the shipped person, garments and 20 poses; errors of 255. Exit code 1
where float16 or TF32 exceed the bounds that `spgvton doctor --gpu` has for them.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any, Final

import torch

from spgvton.backends.samples import demo_samples
from spgvton.bench.parity import TOLERANCES
from spgvton.bundle import WEIGHTS, shipped
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.networks.joint import Inputs, JointModel, build_model

# Name -> (TF32 allowed, autocast's type, whose bounds it must keep to).
KINDS: Final[dict[str, tuple[bool, torch.dtype | None, str | None]]] = {
    "tf32": (True, None, "fp32"), "fp16": (False, torch.float16, "fp16"), "bf16": (False, torch.bfloat16, None),
}  # fmt: skip


def pictures(model: JointModel, batches: list[Inputs], kind: str | None) -> torch.Tensor:
    """uint8-scaled results of all BATCHES, in float32 where KIND is None."""
    tf32, dtype, _ = KINDS[kind] if kind else (False, None, None)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    context: Any = torch.autocast("cuda", dtype) if dtype else nullcontext()
    with torch.inference_mode(), context:
        made = [model(batch).float() for batch in batches]
    return ((torch.cat(made) + 1) * 127.5).clamp(0, 255).round()


def main() -> int:
    checkpoint = Checkpoint.load(shipped() / WEIGHTS)
    config = checkpoint.config
    model = build_model(config).eval()
    model.load_state_dict(checkpoint.weights)
    model.cuda().float()
    samples = demo_samples(config.size, config.label_set, poses=7)[:20]
    batches = [Inputs(*(torch.from_numpy(s[name]).cuda() for name in Inputs._fields)) for s in samples]
    true, held = pictures(model, batches, None), True
    for kind, (_, _, bounds) in KINDS.items():
        error = (pictures(model, batches, kind) - true).abs()
        mean, worst = float(error.mean()), float(error.max())
        allowed = TOLERANCES[bounds] if bounds else None
        print(
            f"{kind}: mean {mean:.4f}, worst {worst:.0f} of 255"
            + (f" (allowed {allowed[0]}, {allowed[1]})" if allowed else "")
        )
        held &= allowed is None or (mean <= allowed[0] and worst <= allowed[1])
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
