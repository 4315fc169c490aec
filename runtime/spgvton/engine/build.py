"""Build the engine of one graph of a bundle, or find it in the cache."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx

from spgvton.bundle import MODES, WEIGHTS, Bundle, sha256
from spgvton.engine import cache, flavour
from spgvton.engine.flavour import WARPS, Flavour
from spgvton.engine.gpu import Gpu, first_gpu
from spgvton.engine.graph import prepare
from spgvton.engine.load import LoadedEngine
from spgvton.engine.parts import FRAME, PARTS
from spgvton.engine.progress import monitor
from spgvton.engine.timing import TimingCache
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder

MIB: Final = 1 << 20
# Of the process. Peaks measured with TensorRT-RTX 1.7, joint graph in float32: `mini` (26 MB of weights) 590-730 MiB,
# `paper` (360 MB) 2410-2480 MiB. TensorRT itself also times kernels on the GPU; --workspace limits that.
BASE_MEMORY, MEMORY_PER_BYTE = 600 * MIB, 6

WARPING: Final = (*MODES.values(), FRAME)  # graphs that warp
STANDARD_WARP: Final = (
    "no plugin was given (--plugin, $SPGVTON_PLUGIN): the warp is computed by the graph's standard operators"
)
RTX_INT8: Final = "TensorRT-RTX fuses nothing behind an INT8 convolution (seen in 1.7.1): FP16 is probably faster there (docs/int8.md)"


@dataclass(frozen=True)
class Options:
    """What to build. Defaults that depend on the back end are None."""

    precision: str = "fp32"
    backend: str = "tensorrt"
    graph: str = "tryon"  # one of the bundle's, or of PARTS
    warp: str | None = None  # plugin for tensorrt where one is given; else function (tensorrt-rtx's wheel takes none)
    plugin: Path | None = None
    max_batch: int = 1
    sm: tuple[str, ...] = ()  # TensorRT-RTX only; empty: an engine for every GPU it knows
    workspace_mb: int | None = None
    folder: Path | None = None
    detailed: bool = False  # keep layer details in the engine, for the inspector


@dataclass(frozen=True)
class Built:
    """An engine on disk. plugin: the library it needs to be loaded. cache: "hit", "built" or "rebuilt: reason"."""

    engine: Path
    plugin: Path | None
    cache: str
    backend: str
    precision: str
    facts: dict[str, Any]  # plugin_layers, layers {data type: count}, seconds
    advice: tuple[str, ...] = ()  # what people should know about this choice, a line each

    def report(self) -> dict[str, Any]:
        """The keys that scripts rely on, and the facts."""
        size = self.engine.stat().st_size
        return {
            "engine": str(self.engine), "bytes": size, "precision": self.precision, "backend": self.backend,
            "cache": self.cache, "advice": list(self.advice), **self.facts,
        }  # fmt: skip


def build(bundle: Bundle, options: Options) -> Built:
    """Build the engine that OPTIONS ask for unless the cache holds it, or another process is just building it.

    Raises UsageError for options that contradict each other, SpgvtonError for everything that fails.
    """
    _check(bundle, options)
    trt = flavour.load(options.backend)
    given = options.plugin or os.environ.get("SPGVTON_PLUGIN")
    warp = options.warp or ("plugin" if given and not trt.is_rtx else "function")
    plugin = _plugin_file(given) if warp == "plugin" and options.graph in WARPING else None
    gpu = None if trt.is_rtx else _required_gpu(options)
    advice = _advice(options, trt, warp)
    key = _key(bundle, options, trt, warp, plugin, gpu)
    target = "-".join(options.sm) or "any" if gpu is None else gpu.sm
    name = f"{options.graph}-{options.backend}-{options.precision}-{warp}-b{options.max_batch}-sm{target}.engine"
    engine = (options.folder or cache.default_folder(bundle.folder)) / name
    how = "hit"
    if cache.why_stale(engine, key) is not None:
        make_folder(engine.parent)  # now rather than after minutes of building
        with cache.only_builder(engine.parent):
            reason = cache.why_stale(engine, key)  # again: who was waited for may have built it
            if reason is not None:
                timing = TimingCache(trt, gpu, engine.parent) if gpu else None
                start = time.perf_counter()
                plan, facts = _build_plan(_whole(bundle, options), options, trt, warp, plugin, timing)
                cache.write(engine, plan, key, facts | {"seconds": round(time.perf_counter() - start, 1)})
                if timing:
                    timing.keep()  # after the engine, which does not depend on it
                how = f"rebuilt: {reason}" if reason else "built"
    return Built(engine, plugin, how, options.backend, options.precision, cache.read_facts(engine), advice)


def _whole(bundle: Bundle, options: Options) -> Path:
    """The file of the graph that OPTIONS name, or that it is a part of."""
    return bundle.graph(PARTS.get(options.graph, options.graph))


def _check(bundle: Bundle, options: Options) -> None:
    _whole(bundle, options)
    if options.warp not in (None, *WARPS):
        raise UsageError(f"--warp must be one of {', '.join(WARPS)}, got {options.warp}")
    if options.max_batch < 1:
        raise UsageError(f"--max-batch must be 1 or more, got {options.max_batch}")
    has = bundle.precision
    if has != options.precision:  # TensorRT networks are strongly typed: the precision is the graph's
        raise SpgvtonError(
            f"{bundle.folder} is a {has} bundle: ask for --precision {has}, or give a bundle exported as {options.precision}"
        )


def _advice(options: Options, trt: Flavour, warp: str) -> tuple[str, ...]:
    standard = options.graph in WARPING and not options.warp and warp == "function" and not trt.is_rtx
    slow = trt.is_rtx and options.precision == "int8"
    return tuple(text for text, applies in ((STANDARD_WARP, standard), (RTX_INT8, slow)) if applies)


def _plugin_file(given: str | Path | None) -> Path:
    if not given:
        raise SpgvtonError(
            "--warp plugin needs the library: build it (cmake -B build/native && cmake --build build/native) and give "
            "--plugin build/native/libspgvton_plugin.so, or use --warp function"
        )
    path = Path(given)
    if not path.is_file():
        raise SpgvtonError(f"there is no plugin library {path}: build it, or use --warp function")
    return path.resolve()


def _required_gpu(options: Options) -> Gpu:
    gpu = first_gpu()
    if gpu is None:
        raise SpgvtonError(
            "TensorRT builds on the GPU that it builds for, and none is here: build on the target machine"
        )
    if options.sm and options.sm != (gpu.sm,):
        raise UsageError(f"--sm {' '.join(options.sm)}: TensorRT builds for this machine's GPU (SM {gpu.sm}) only")
    return gpu


def _key(bundle: Bundle, options: Options, trt: Flavour, warp: str, plugin: Path | None, gpu: Gpu | None) -> cache.Key:
    """Everything that the engine depends on."""
    files = bundle.manifest["files"]
    return {
        "graph": files[_whole(bundle, options).name]["sha256"],
        "weights": files[WEIGHTS]["sha256"] if WEIGHTS in files else None,
        "plugin": sha256(plugin) if plugin else None,
        "tensorrt": f"{trt.name} {trt.version}",
        "gpu": gpu.identity if gpu else None,
        "sm": [gpu.sm] if gpu else list(options.sm),
        "precision": options.precision,
        "warp": warp,
        "max_batch": options.max_batch,
        "workspace_mb": options.workspace_mb,
        "detailed": options.detailed,
    }


def check_memory(needed: int) -> None:
    """Raise SpgvtonError when the system has less than NEEDED bytes available. Silent where it does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return
    if available < needed:
        raise SpgvtonError(
            f"building needs about {needed // MIB} MiB and {available // MIB} MiB are free: close programs or add swap"
        )


def _build_plan(
    path: Path, options: Options, trt: Flavour, warp: str, plugin: Path | None, timing: TimingCache | None
) -> tuple[bytes, dict[str, Any]]:
    model, warps = prepare(path, warp, options.graph if options.graph in PARTS else None)
    needed = BASE_MEMORY + MEMORY_PER_BYTE * model.ByteSize()
    check_memory(needed)
    builder = trt.trt.Builder(trt.logger)
    if plugin is None:
        plan, facts = _parse_and_build(builder, model, path, options, trt, warps, timing)
    else:
        with flavour.plugin_loaded(trt, builder.get_plugin_registry(), plugin):
            plan, facts = _parse_and_build(builder, model, path, options, trt, warps, timing)
    return plan, facts | {"memory_estimate_mb": needed // MIB}


def _parse_and_build(
    builder: Any,
    model: onnx.ModelProto,
    path: Path,
    options: Options,
    trt: Flavour,
    warps: int,
    timing: TimingCache | None,
) -> tuple[bytes, dict[str, Any]]:
    flag = getattr(trt.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))  # without the flag there is no other kind
    parser = trt.trt.OnnxParser(network, trt.logger)
    if not parser.parse(model.SerializeToString()):
        described = " ".join(str(parser.get_error(0)).split())[:300] if parser.num_errors else "no reason given"
        raise SpgvtonError(f"TensorRT cannot read {path}: {described}")
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    plugins = sum("PLUGIN_V3" in str(layer.type) for layer in layers)
    if plugins != warps:
        raise SpgvtonError(
            f"the network holds {plugins} plugin layers and {path} {warps} warps: the plugin is not used"
        )
    types = Counter(str(layer.get_output(0).dtype).split(".")[-1] for layer in layers if layer.num_outputs)
    config = builder.create_builder_config()
    _configure(builder, network, config, options, trt)
    if timing:
        timing.attach(config)
    progress = config.progress_monitor = monitor(trt.trt)
    memory = trt.attempt(builder.build_serialized_network, network, config)
    if progress.interrupted:
        raise KeyboardInterrupt
    if memory is None:
        raise SpgvtonError(f"TensorRT cannot build {path}: {trt.first_error('no reason given')}")
    return bytes(memory), {"plugin_layers": plugins, "layers": dict(types.most_common())}


def _configure(builder: Any, network: Any, config: Any, options: Options, trt: Flavour) -> None:
    """Profile (batch 1 to max_batch, everything else static), workspace, target GPUs."""
    profile = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        rest = list(tensor.shape)[1:]
        if any(n < 0 for n in rest):
            raise SpgvtonError(f"input {tensor.name} has a dynamic size {tuple(tensor.shape)}: only the batch may vary")
        profile.set_shape(tensor.name, [1, *rest], [1, *rest], [options.max_batch, *rest])
    config.add_optimization_profile(profile)
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(trt.trt.MemoryPoolType.WORKSPACE, options.workspace_mb * MIB)
    if options.detailed:
        config.profiling_verbosity = trt.trt.ProfilingVerbosity.DETAILED
    if trt.is_rtx and options.sm:
        config.num_compute_capabilities = len(options.sm)
        for i, sm in enumerate(options.sm):
            flavour.check_rtx_sm(sm, f"--sm {sm}")
            member = getattr(trt.trt.ComputeCapability, f"SM{sm}", None)
            if member is None:
                known = sorted(n[2:] for n in dir(trt.trt.ComputeCapability) if n.startswith("SM"))
                raise UsageError(f"--sm {sm}: {trt.name} {trt.version} builds for {', '.join(known)}")
            config.set_compute_capability(member, i)


def explain(built: Built) -> list[dict[str, Any]]:
    """Layers of the engine as TensorRT's inspector tells them: name, type, precision, what was fused.

    Raises SpgvtonError where the engine cannot be loaded: the inspector needs the GPU.
    """
    trt = flavour.load(built.backend)
    if first_gpu() is None:
        raise SpgvtonError("the engine inspector needs the GPU: run this on the machine that the engine is for")
    loaded = LoadedEngine(trt, built.engine, built.plugin)
    try:
        inspector = loaded.engine.create_engine_inspector()
        layers = json.loads(inspector.get_engine_information(trt.trt.LayerInformationFormat.JSON))["Layers"]
    finally:
        inspector = None  # before the engine
        loaded.close()
    return [layer if isinstance(layer, dict) else {"Name": layer} for layer in layers]
