"""The graphs of a bundle as PyTorch modules with named inputs and outputs: all but the joint one are traced."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spgvton_export.joint_graph import live_outputs
from spgvton_training.networks.joint import Inputs, JointModel
from spgvton_training.networks.live import LiveInputs, LiveStages, live_person, live_stages, to_bytes
from spgvton_training.parsing.network import ParserNetwork


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
        return semantic, self.model.fill(person.body, person.hidden, semantic)


class G1Still(_Wrapper):
    """G1 of a network that fills the background, but moves nothing: it does not need the source's keypoints."""

    def forward(
        self, reference_map: Tensor, head: Tensor, body: Tensor, cloth_mask: Tensor, keypoints: Tensor
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        person = self.model.person(Inputs(reference_map, head, body, keypoints, body, cloth_mask, keypoints))
        semantic = self.model.semantic_logits(person, cloth_mask, keypoints).softmax(1)
        return semantic, self.model.fill(person.body, person.hidden, semantic)


class G1Plain(_Wrapper):
    """G1 with neither: it does not need the body, either."""

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


class Residual(_Wrapper):
    """The residual flow, and the garment moved by it; given what the spline made of garment and mask (N, 4, H, W)."""

    def forward(
        self, splined: Tensor, theta: Tensor, clothes_mask: Tensor, semantic: Tensor, keypoints: Tensor
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        worn = self.model.bend(splined, theta, clothes_mask, semantic, keypoints)
        assert worn.residual is not None
        return worn.cloth, worn.residual


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


class LiveG1(_Wrapper):
    """Semantic probabilities and the body as G2 takes it, of the camera frame itself."""

    def forward(
        self, picture: Tensor, labels: Tensor, cloth_mask: Tensor, keypoints: Tensor
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        person = live_person(self.model, picture, labels)
        semantic = self.model.logits_of(person.maps, cloth_mask, keypoints).softmax(1)
        return semantic, self.model.fill(person.body, person.hidden, semantic)


class LiveG3(_Wrapper):
    """Rendered picture and composition mask, which the compositor puts together at the camera's size."""

    def forward(self, coarse: Tensor, clothes_mask: Tensor, warped: Tensor, keypoints: Tensor) -> tuple[Tensor, Tensor]:
        final = self.model.synthesise(coarse, clothes_mask, warped, keypoints)
        return final.rendered, final.composition


class LiveBytes(_Wrapper):
    def forward(
        self, rendered: Tensor, composition: Tensor, clothes_mask: Tensor, semantic: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return to_bytes(self.model, LiveStages(rendered, composition, clothes_mask, semantic, semantic))


class LiveReference(_Wrapper):
    """What the live graph must give. Never traced."""

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        stages = live_stages(self.model, LiveInputs(*tensors))
        residual = () if stages.residual is None else (stages.residual,)
        return (*to_bytes(self.model, stages), stages.theta, *residual)


class HumanParser(nn.Module):
    """What spgvton.perception.small feeds and reads: bytes in, bytes out."""

    def __init__(self, parser: ParserNetwork) -> None:
        super().__init__()
        self.parser = parser

    def forward(self, picture: Tensor, keypoints: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) RGB, float32 (N, 18, 3) -> uint8 (N, 21, h, w): probabilities of 255."""
        x = picture.float().permute(0, 3, 1, 2) / 127.5 - 1  # bytes first: TensorRT moves none
        return (self.parser(x, keypoints).softmax(1) * 255).round().to(torch.uint8)


def parser_graph(parser: ParserNetwork, inputs: dict[str, Tensor]) -> Graph:
    """The graph of PARSER; INPUTS: an example of what it takes, by name."""
    return Graph(HumanParser(parser).eval(), inputs, ("probabilities",))


@torch.no_grad()
def live_graphs(model: JointModel, inputs: LiveInputs) -> dict[str, Graph]:
    """The parts of the live graph that are not the joint graph's too (joint_graph.LIVE_PARTS), and `live`, their whole."""
    x, stages = inputs, live_stages(model, inputs)
    person = live_person(model, x.picture, x.labels)
    body = model.fill(person.body, person.hidden, stages.semantic)
    coarse = model.coarse(stages.semantic, body, x.cloth, x.keypoints)
    g1 = {"picture": x.picture, "labels": x.labels, "cloth_mask": x.cloth_mask, "keypoints": x.keypoints}
    g3 = {
        "coarse": coarse.image, "clothes_mask": coarse.mask,
        "warped": model.wear(x.cloth, x.cloth_mask, stages.theta, coarse.mask, stages.semantic, x.keypoints).cloth,
        "keypoints": x.keypoints,
    }  # fmt: skip
    made = {k: getattr(stages, k) for k in ("rendered", "composition", "clothes_mask", "semantic")}
    return {
        "g1": Graph(LiveG1(model), g1, ("semantic", "body")),
        "g3": Graph(LiveG3(model), g3, ("rendered", "composition")),
        "bytes": Graph(LiveBytes(model), made, tuple(f"{name}_bytes" for name in made)),
        "live": Graph(LiveReference(model), x._asdict(), live_outputs(residual=model.residual is not None)),
    }


@torch.no_grad()
def graphs(model: JointModel, inputs: Inputs) -> dict[str, Graph]:
    """The parts and `tryon`, in order of computation, with example inputs that come from running the chain on INPUTS."""
    c, x = model.config, inputs
    semantic, body, coarse, theta, _, warped, _ = model.stages(x)
    splined = model.warp(torch.cat([x.cloth, x.cloth_mask], 1), theta)
    warped_mask = splined[:, 3:]
    pose = {"keypoints": x.keypoints}
    static = x._asdict()
    out: dict[str, Graph] = {}
    if c.align_source:
        names = ["reference_map", "head", "body", "source_keypoints", "cloth_mask", "keypoints"]
        out["g1"] = Graph(G1(model), {k: static[k] for k in names}, ("semantic", "aligned_body"))
    elif c.fill_background:
        names = ["reference_map", "head", "body", "cloth_mask", "keypoints"]
        out["g1"] = Graph(G1Still(model), {k: static[k] for k in names}, ("semantic", "aligned_body"))
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
    if model.residual is not None:
        seen = {"splined": splined, "theta": theta, "clothes_mask": coarse.mask, "semantic": semantic}
        out["residual"] = Graph(Residual(model), {**seen, **pose}, ("warped", "residual"))
    images = {"coarse": coarse.image, "warped": warped}
    if c.mask_in_g3:
        g3_inputs = {"coarse": coarse.image, "clothes_mask": coarse.mask, "warped": warped, **pose}
        out["g3"] = Graph(G3(model), g3_inputs, ("image",))
    else:
        out["g3"] = Graph(G3Plain(model), {**images, **pose}, ("image",))
    out["tryon"] = Graph(TryOnReference(model), static, ("image",))
    return out
