"""Convert a TensorFlow.js graph model (model.json and its weight shards) to ONNX; TensorFlow is not needed.

    python -m spgvton_export.tfjs movenet-lightning.json movenet_lightning.onnx

The pose network under runtime/spgvton/assets/models was made by this file (the README.md there has the exact command),
and the same input gives the same bytes again. It knows the operators of Google's pose networks and refuses any other.

Two choices shape the result:
- TensorFlow computes in NHWC, ONNX convolutions in NCHW: each one stands between two Transpose nodes, which ONNX Runtime
  moves and cancels when it loads the graph.
- Float weights that FP16 holds exactly (the packages store them so) become FP16 initialisers followed by a Cast to FP32.
  ONNX Runtime folds the Cast at load: half the file, the same numbers.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import write_bytes
from spgvton_training.pretrained.tfjs_weights import load_weights

Array = NDArray[Any]
Node = dict[str, Any]

OPSET: Final = 18
IR_VERSION: Final = 9  # what ONNX Runtime 1.17 reads
FP16_MIN_SIZE: Final = 16  # below that a Cast node costs more bytes than it saves
ONNX_TYPES: Final = {"DT_FLOAT": TensorProto.FLOAT, "DT_INT32": TensorProto.INT32, "DT_BOOL": TensorProto.BOOL}
ELEMENTWISE: Final = {
    "AddV2": "Add", "Add": "Add", "BiasAdd": "Add", "Sub": "Sub", "Mul": "Mul", "RealDiv": "Div", "Sqrt": "Sqrt",
    "Relu": "Relu", "Sigmoid": "Sigmoid", "Identity": "Identity", "Maximum": "Max", "Minimum": "Min",
}  # fmt: skip
FUSED_ACTIVATIONS: Final = ("Relu", "Relu6", "Sigmoid")


def text(value: str) -> str:
    """A string attribute; TensorFlow.js stores them in base64."""
    return base64.b64decode(value).decode()


def ints(attribute: Node) -> list[int]:
    """An integer-list attribute ([] when absent)."""
    return [int(v) for v in attribute.get("list", {}).get("i", [])]


class Converter:
    """Builds the ONNX graph node by node. A tensor keeps the name of the TensorFlow node that makes it."""

    def __init__(self, model: Path) -> None:
        try:
            document = json.loads(model.read_text())
            self.nodes: dict[str, Node] = {n["name"]: n for n in document["modelTopology"]["node"]}
            manifest = document["weightsManifest"]
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise SpgvtonError(f"{model} is not a TensorFlow.js graph model ({type(e).__name__}: {e})") from e
        self.weights = load_weights(model, manifest)
        self.inputs: list[onnx.ValueInfoProto] = []
        self.initialisers: dict[str, onnx.TensorProto] = {}
        self.out: list[onnx.NodeProto] = []
        self.counter = 0

    # ---- building blocks

    def unique(self, prefix: str) -> str:
        self.counter += 1
        return f"{prefix}_{self.counter}"

    def const(self, value: Any, name: str | None = None) -> str:
        """Add an initialiser and return the tensor's name."""
        name = name or self.unique("const")
        a = np.ascontiguousarray(value)
        half = a.astype(np.float16) if a.dtype == np.float32 and a.size >= FP16_MIN_SIZE else None
        if half is not None and np.array_equal(half.astype(np.float32), a):
            self.initialisers[name + "/fp16"] = numpy_helper.from_array(half, name + "/fp16")
            return self.op("Cast", [name + "/fp16"], name, to=TensorProto.FLOAT)
        self.initialisers[name] = numpy_helper.from_array(a.reshape(np.shape(value)), name)
        return name

    def op(self, kind: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """Add one node and return the name of its output."""
        output = output or self.unique(kind.lower())
        self.out.append(helper.make_node(kind, inputs, [output], name=self.unique("node"), **attributes))
        return output

    def nchw(self, x: str) -> str:
        return self.op("Transpose", [x], perm=[0, 3, 1, 2])

    def nhwc(self, x: str, output: str | None = None) -> str:
        return self.op("Transpose", [x], output, perm=[0, 2, 3, 1])

    def clip6(self, x: str, output: str) -> str:
        return self.op("Clip", [x, self.const(np.float32(0)), self.const(np.float32(6))], output)

    def value(self, n: Node, index: int) -> Array:
        """The constant that is input INDEX of N. Raises SpgvtonError when it is computed at run time."""
        name = n["input"][index].split(":")[0]
        if name not in self.weights:
            raise SpgvtonError(f"{n['op']} node {n['name']}: input {name} must be constant")
        return self.weights[name]

    # ---- operators

    def convolution(self, n: Node, x: str) -> None:
        """Conv2D, depthwise or not, with the bias and the activation that TensorFlow.js fused into it."""
        a, name = n["attr"], n["name"]
        w = self.value(n, 1)
        if "Depthwise" in n["op"]:  # (h, w, channels, multiplier)
            groups, kernel = w.shape[2], w.transpose(2, 3, 0, 1).reshape(-1, 1, *w.shape[:2])
        else:  # (h, w, in, out)
            groups, kernel = 1, w.transpose(3, 2, 0, 1)
        fused = [text(s) for s in a.get("fused_ops", {}).get("list", {}).get("s", [])]
        activations = [f for f in fused if f != "BiasAdd"]
        if any(f not in FUSED_ACTIVATIONS for f in activations) or len(activations) > 1:
            raise SpgvtonError(f"{n['op']} node {name}: cannot convert the fused {' + '.join(activations)}")
        inputs = [self.nchw(x), self.const(kernel)] + ([self.const(self.value(n, 2))] if "BiasAdd" in fused else [])
        y = self.op(
            "Conv", inputs, strides=ints(a["strides"])[1:3], dilations=ints(a.get("dilations", {}))[1:3] or [1, 1],
            group=groups, kernel_shape=list(kernel.shape[2:]), **self.padding(a),
        )  # fmt: skip
        y = self.nhwc(y, None if activations else name)
        if activations == ["Relu6"]:
            self.clip6(y, name)
        elif activations:
            self.op(activations[0], [y], name)

    @staticmethod
    def padding(a: Node) -> dict[str, Any]:
        mode = text(a["padding"]["s"])
        if mode == "EXPLICIT":
            e = ints(a["explicit_paddings"])
            return {"pads": [e[2], e[4], e[3], e[5]]}
        return {"auto_pad": "SAME_UPPER" if mode == "SAME" else "VALID"}

    def resize(self, n: Node, x: str) -> None:
        a = n["attr"]
        if a.get("align_corners", {}).get("b"):
            mode = "align_corners"
        else:
            mode = "half_pixel" if a.get("half_pixel_centers", {}).get("b") else "asymmetric"
        sizes = self.const(self.value(n, 1).astype(np.int64))
        y = self.op(
            "Resize", [self.nchw(x), "", "", sizes], mode="linear", axes=[2, 3], coordinate_transformation_mode=mode
        )
        self.nhwc(y, n["name"])

    def add(self, n: Node) -> None:
        """Convert one node."""
        op, name, a = n["op"], n["name"], n.get("attr", {})
        # A TensorFlow reference is node, node:output, or ^node (control flow only).
        x = [r.split(":")[0] + ("__" + r.split(":")[1] if r.split(":")[1:] not in ([], ["0"]) else "")
             for r in n.get("input", []) if not r.startswith("^")]  # fmt: skip
        if op == "Const":
            self.const(self.weights[name], name)
        elif op == "Placeholder":
            dims = [max(int(d["size"]), 1) for d in a["shape"]["shape"]["dim"]]  # an open batch size becomes 1
            self.inputs.append(helper.make_tensor_value_info(name, ONNX_TYPES[a["dtype"]["type"]], dims))
        elif op in ELEMENTWISE:
            self.op(ELEMENTWISE[op], x, name)
        elif op in ("_FusedConv2D", "Conv2D", "FusedDepthwiseConv2dNative", "DepthwiseConv2dNative"):
            self.convolution(n, x[0])
        elif op == "Relu6":
            self.clip6(x[0], name)
        elif op == "ResizeBilinear":
            self.resize(n, x[0])
        elif op == "MaxPool":
            y = self.op(
                "MaxPool", [self.nchw(x[0])], kernel_shape=ints(a["ksize"])[1:3], strides=ints(a["strides"])[1:3],
                **self.padding(a),
            )  # fmt: skip
            self.nhwc(y, name)
        elif op == "SquaredDifference":
            d = self.op("Sub", x)
            self.op("Mul", [d, d], name)
        elif op == "Cast":
            self.op("Cast", x, name, to=ONNX_TYPES[a["DstT"]["type"]])
        elif op == "FloorDiv":  # ONNX truncates towards zero: the same for the non-negative indices it serves here
            self.op("Div", x, name)
        elif op == "ExpandDims":
            self.op("Unsqueeze", [x[0], self.const(self.value(n, 1).reshape(1).astype(np.int64))], name)
        elif op == "Squeeze":
            self.op("Squeeze", [x[0], self.const(np.array(ints(a["squeeze_dims"]), np.int64))], name)
        elif op == "Reshape":
            shape = self.value(n, 1).astype(np.int64)
            self.op("Reshape", [x[0], self.const(shape)], name)
        elif op == "Pad":
            self.op("Pad", [x[0], self.const(self.value(n, 1).T.reshape(-1).astype(np.int64))], name)
        elif op == "ConcatV2":
            self.op("Concat", x[:-1], name, axis=int(self.value(n, -1)))
        elif op == "Pack":
            axis = np.array([int(a.get("axis", {}).get("i", 0))], np.int64)
            self.op("Concat", [self.op("Unsqueeze", [i, self.const(axis)]) for i in x], name, axis=int(axis[0]))
        elif op == "Unpack":
            for i in range(int(a["num"]["i"])):
                index = self.const(np.array(i, np.int64))
                axis_i = int(a.get("axis", {}).get("i", 0))
                self.op("Gather", [x[0], index], f"{name}__{i}" if i else name, axis=axis_i)
        elif op == "ArgMax":
            y = self.op("ArgMax", [x[0]], axis=int(self.value(n, 1)), keepdims=0)
            self.op("Cast", [y], name, to=TensorProto.INT32)
        elif op == "GatherNd":
            self.op("GatherND", [x[0], self.op("Cast", [x[1]], to=TensorProto.INT64)], name)
        elif op != "NoOp":
            raise SpgvtonError(f"TensorFlow operator {op} (node {name}) is not supported by this converter")

    # ---- the whole graph

    def convert(self, outputs: dict[str, str]) -> onnx.ModelProto:
        """Convert the nodes that OUTPUTS (TensorFlow name -> name in the ONNX graph) need."""
        for name in outputs:
            if name not in self.nodes:
                raise UsageError(f"the model has no node '{name}'; its outputs are {', '.join(self.final_nodes())}")
        for n in self.ordered(list(outputs)):
            self.add(n)
        for name, renamed in outputs.items():
            self.op("Identity", [name], renamed if renamed != name else self.rename_away(name))
        needed, nodes = set(outputs.values()), []
        for node in reversed(self.out):  # drop what only fed constants (axes, shapes) that became attributes
            if set(node.output) & needed:
                nodes.append(node)
                needed.update(node.input)
        graph = helper.make_graph(
            nodes[::-1], "tfjs", self.inputs,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs.values()],
            [t for name, t in self.initialisers.items() if name in needed],
        )  # fmt: skip
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="spgvton_export.tfjs",
            ir_version=IR_VERSION,
        )  # fmt: skip
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
        del model.graph.output[:]
        model.graph.output.extend(inferred.output)
        self.resolve_padding(model.graph, inferred)
        onnx.checker.check_model(model, full_check=True)
        return model

    def rename_away(self, name: str) -> str:
        """Free NAME for the graph's output: the tensor that bears it gets another name."""
        inner = name + "/inner"
        for node in self.out:
            for field in (node.input, node.output):
                field[:] = [inner if v == name else v for v in field]
        return name

    def final_nodes(self) -> list[str]:
        """Nodes whose result no other node uses."""
        used = {i.split(":")[0].lstrip("^") for n in self.nodes.values() for i in n.get("input", [])}
        return sorted(k for k, n in self.nodes.items() if k not in used and n["op"] not in ("Const", "NoOp"))

    def ordered(self, roots: list[str]) -> list[Node]:
        """The nodes that ROOTS need, each after its inputs (without recursion: the graphs are deep)."""
        done: dict[str, Node] = {}
        stack = [(name, False) for name in reversed(roots)]
        while stack:
            name, expanded = stack.pop()
            if name in done:
                continue
            if expanded:
                done[name] = self.nodes[name]
                continue
            stack.append((name, True))
            inputs = [i.lstrip("^").split(":")[0] for i in self.nodes[name].get("input", [])]
            stack.extend((i, False) for i in reversed(inputs))
        return list(done.values())

    @staticmethod
    def resolve_padding(graph: onnx.GraphProto, inferred: onnx.GraphProto) -> None:
        """Replace auto_pad SAME_UPPER by numbers, which every back end understands."""
        shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in inferred.value_info}
        for node in graph.node:
            a = {x.name: x for x in node.attribute}
            if "auto_pad" not in a or a["auto_pad"].s != b"SAME_UPPER":
                continue
            size = shapes[node.input[0]][2:]
            kernel, strides = a["kernel_shape"].ints, a["strides"].ints
            dilations = a["dilations"].ints if "dilations" in a else [1, 1]
            total = [
                max((-(-size[i] // strides[i]) - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 - size[i], 0)
                for i in (0, 1)
            ]
            node.attribute.remove(a["auto_pad"])
            pads = [total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2]
            node.attribute.append(helper.make_attribute("pads", pads))


def convert(source: str | Path, target: str | Path, outputs: dict[str, str] | None = None) -> onnx.ModelProto:
    """Convert SOURCE (model.json) and write TARGET atomically.

    outputs: TensorFlow node name -> name of the ONNX output; by default every final node under its own name.
    Raises SpgvtonError for an unreadable model or an unsupported operator, UsageError for an unknown output.
    """
    converter = Converter(Path(source))
    model = converter.convert(outputs or {name: name for name in converter.final_nodes()})
    write_bytes(target, model.SerializeToString(deterministic=True))
    return model


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m spgvton_export.tfjs", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", help="model.json; its weight shards lie beside it")
    parser.add_argument("target", help="ONNX file to write")
    parser.add_argument("--outputs", metavar="NODE[=NAME],...", help="keep only these outputs (default: all)")
    args = parser.parse_args(argv)
    outputs = None
    if args.outputs:
        pairs = [item.partition("=") for item in args.outputs.split(",")]
        outputs = {node: name or node for node, _, name in pairs}
    try:
        model = convert(args.source, args.target, outputs)
    except SpgvtonError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2 if isinstance(e, UsageError) else 1
    names = ", ".join(o.name for o in model.graph.output)
    print(f"{args.target}: {Path(args.target).stat().st_size / 1e6:.1f} MB, outputs {names}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
