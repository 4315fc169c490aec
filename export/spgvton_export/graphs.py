"""The graphs of a bundle as PyTorch modules with named inputs and outputs: all but the joint one are traced."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spgvton.bundle import GRAPHS
from spgvton_training.networks.joint import Inputs, JointModel


class Graph(NamedTuple):
    """One ONNX graph: what it computes, with which tensors, and the names that its users see."""

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]


class _Wrapper(nn.Module):
    """Holds the joint model as `model`, so that every weight keeps the name that it has in the checkpoint."""

    def __init__(self, model: JointModel) -> None:
        super().__init__()
        self.model = model


class G1(_Wrapper):
    """Semantic probabilities, and the body as G2 takes it (moved to the target pose with `align_source`)."""

    def forward(
        self, reference_map: Tensor, head: Tensor, body: Tensor, source_keypoints: Tensor, cloth_mask: Tensor,
        keypoints: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        inputs = Inputs(reference_map, head, body, source_keypoints, body, cloth_mask, keypoints)
        person = self.model.person(inputs)
        semantic = self.model.semantic_logits(person, cloth_mask, keypoints).softmax(1)
        return semantic, self.model.fill(person, semantic)


class G1Plain(_Wrapper):
    """G1 without `align_source`: it needs neither the body nor the source's keypoints."""

    def forward(self, reference_map: Tensor, head: Tensor, cloth_mask: Tensor, keypoints: Tensor) -> Tensor:
        body = head[:, :1].expand(-1, 3, -1, -1)
        person = self.model.person(Inputs(reference_map, head, body, keypoints, body, cloth_mask, keypoints))
        return self.model.semantic_logits(person, cloth_mask, keypoints).softmax(1)


class G2(_Wrapper):
    def forward(self, semantic: Tensor, body: Tensor, cloth: Tensor, keypoints: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.coarse(semantic, body, cloth, keypoints)


class GMM1(_Wrapper):
    def forward(self, cloth_mask: Tensor, clothes_mask: Tensor, keypoints: Tensor) -> Tensor:
        return self.model.match(cloth_mask, clothes_mask, keypoints)


class GMM1Plain(_Wrapper):
    def forward(self, cloth_mask: Tensor, clothes_mask: Tensor) -> Tensor:
        return self.model.match(cloth_mask, clothes_mask, cloth_mask)


class GMM2(_Wrapper):
    def forward(self, warped_mask: Tensor, cloth_mask: Tensor) -> Tensor:
        return self.model.match_back(warped_mask, cloth_mask)


class G3(_Wrapper):
    def forward(self, coarse: Tensor, clothes_mask: Tensor, warped: Tensor, keypoints: Tensor) -> Tensor:
        return self.model.synthesise(coarse, clothes_mask, warped, keypoints).image


class G3Plain(_Wrapper):
    def forward(self, coarse: Tensor, warped: Tensor, keypoints: Tensor) -> Tensor:
        return self.model.synthesise(coarse, coarse[:, :1], warped, keypoints).image


class TryOnReference(_Wrapper):
    """What the joint graph must give: person, garment and target keypoints -> uint8 image (N, H, W, 3). Never traced."""

    def forward(self, *tensors: Tensor) -> Tensor:
        image = self.model(Inputs(*tensors))
        return ((image + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)


@torch.no_grad()
def graphs(model: JointModel, inputs: Inputs) -> dict[str, Graph]:
    """Every graph of the bundle, with example inputs that come from running the chain on INPUTS."""
    c, x = model.config, inputs
    semantic, body, coarse, theta, warped, _ = model.stages(x)
    warped_mask = model.warp(x.cloth_mask, theta)
    pose = {"keypoints": x.keypoints}
    static = x._asdict()
    out: dict[str, Graph] = {}
    if c.align_source:
        names = ["reference_map", "head", "body", "source_keypoints", "cloth_mask", "keypoints"]
        out["g1"] = Graph(G1(model), {k: static[k] for k in names}, ("semantic", "aligned_body"))
    else:
        names = ["reference_map", "head", "cloth_mask", "keypoints"]
        out["g1"] = Graph(G1Plain(model), {k: static[k] for k in names}, ("semantic",))
    g2_inputs = {"semantic": semantic, "body": body, "cloth": x.cloth, **pose}
    out["g2"] = Graph(G2(model), g2_inputs, ("coarse", "clothes_mask"))
    masks = {"cloth_mask": x.cloth_mask, "clothes_mask": coarse.mask}
    if c.pose_in_gmm:
        out["gmm1"] = Graph(GMM1(model), {**masks, **pose}, ("theta",))
    else:
        out["gmm1"] = Graph(GMM1Plain(model), masks, ("theta",))
    out["gmm2"] = Graph(GMM2(model), {"warped_mask": warped_mask, "cloth_mask": x.cloth_mask}, ("theta",))
    images = {"coarse": coarse.image, "warped": warped}
    if c.mask_in_g3:
        g3_inputs = {"coarse": coarse.image, "clothes_mask": coarse.mask, "warped": warped, **pose}
        out["g3"] = Graph(G3(model), g3_inputs, ("image",))
    else:
        out["g3"] = Graph(G3Plain(model), {**images, **pose}, ("image",))
    out["tryon"] = Graph(TryOnReference(model), static, ("image",))
    return {name: out[name] for name in GRAPHS}
