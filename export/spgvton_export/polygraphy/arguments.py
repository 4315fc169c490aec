"""`polygraphy run` learns three options: --spgvton-bundle, --spgvton-torch, --spgvton-plugin (docs/polygraphy.md).

Polygraphy loads this module by the entry point `polygraphy.run.plugins` whenever any of its tools starts, so nothing heavy
is imported here. Its `run` writes a Python script and executes it (`--gen-script` shows it): each class below adds lines to
that script, or takes the place of one of polygraphy's own argument groups, which look each other up by class.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final

from polygraphy.logger import G_LOGGER
from polygraphy.tools.args import (
    DataLoaderArgs,
    ModelArgs,
    OnnxLoadArgs,
    TrtLoadNetworkArgs,
    TrtLoadPluginsArgs,
)
from polygraphy.tools.args import util as args_util
from polygraphy.tools.args.base import ArgGroups, BaseArgs, BaseRunnerArgs
from polygraphy.tools.script import make_invocable

from spgvton_export.polygraphy.errors import one_line

LOADERS: Final = "spgvton_export.polygraphy.loaders"
RUNNER: Final = "spgvton_export.polygraphy.runner"


def argument_groups() -> list[BaseArgs]:
    """What the entry point names: the argument groups that `polygraphy run` adds to its own."""
    return [SpgvtonBundleArgs(), SpgvtonTorchArgs(), SpgvtonPluginArgs()]


# ----- --spgvton-bundle -----------------------------------------------------------------------------------------------


class SpgvtonBundleArgs(BaseArgs):
    """
    SPG-VTON Inputs: real inputs for the graphs of a model bundle.

    Depends on:

        - DataLoaderArgs
        - ModelArgs
    """

    def add_parser_args_impl(self) -> None:
        self.group.add_argument(
            "--spgvton-bundle",
            metavar="FOLDER",
            help="Model bundle that the graph belongs to. Inputs are then real ones instead of random numbers: the "
            "shipped person in three garments and three poses, for g1, g2, gmm1, gmm2 and g3 what this bundle's graphs "
            "before them make of that. --iterations (default: 9) goes round and round through these nine.",
        )

    def parse_impl(self, args: Any) -> None:
        """folder: the bundle's folder, or None."""
        self.folder: str | None = args_util.get(args, "spgvton_bundle")
        if self.folder is None:
            return
        for option in ("seed", "val_range", "load_inputs_paths", "data_loader_script"):
            if args_util.get(args, option):
                name = "load-inputs" if option == "load_inputs_paths" else option.replace("_", "-")
                G_LOGGER.critical(f"spgvton: --spgvton-bundle gives the inputs: leave out --{name}")
        self.arg_groups[DataLoaderArgs] = _RealInputsArgs(self.arg_groups[DataLoaderArgs], self)

    def graph(self) -> str:
        """The bundle's graph that the model on the command line is. Ends the command with one line when it is none."""
        from spgvton.bundle import Bundle
        from spgvton_export.polygraphy.loaders import graph_for, inputs_of

        model = self.arg_groups[ModelArgs]
        with one_line():
            bundle = Bundle.open(self.folder)
            return graph_for(bundle, inputs_of(Path(model.path)))


class _RealInputsArgs(DataLoaderArgs):
    """Polygraphy's data loader options, of which only --iterations is left."""

    def __init__(self, original: DataLoaderArgs, bundle: SpgvtonBundleArgs) -> None:
        super().__init__()
        self.__dict__.update(vars(original))  # what it has parsed
        self._bundle = bundle

    def add_to_script_impl(self, script: Any, user_input_metadata_str: str | None = None) -> Any:
        if self.arg_groups[ModelArgs].model_type.is_onnx():
            self._bundle.graph()  # now rather than after minutes of building; an engine tells its inputs when it is loaded
        script.add_import(imports=["RealInputs"], frm=LOADERS)
        return script.set_data_loader(make_invocable("RealInputs", self._bundle.folder, iterations=self.iterations))

    def is_using_random_data(self) -> bool:
        return False


# ----- --spgvton-torch ------------------------------------------------------------------------------------------------


class SpgvtonTorchArgs(BaseRunnerArgs):
    """
    SPG-VTON PyTorch Inference: running the networks of a model bundle in PyTorch.

    Depends on:

        - ModelArgs
        - SpgvtonBundleArgs
    """

    def get_name_opt_impl(self) -> tuple[str, str]:
        return "the bundle's networks in PyTorch, in float32", "spgvton-torch"

    def get_extra_help_text_impl(self) -> str:
        return "Needs --spgvton-bundle, whose weights it takes."

    def add_to_script_impl(self, script: Any) -> None:
        bundle = self.arg_groups[SpgvtonBundleArgs]
        if bundle.folder is None:
            G_LOGGER.critical("spgvton: --spgvton-torch takes the weights of a bundle: add --spgvton-bundle FOLDER")
        if not self.arg_groups[ModelArgs].model_type.is_onnx():
            G_LOGGER.critical(
                "spgvton: --spgvton-torch needs the ONNX graph as the model, to know which network to run"
            )
        if not all(importlib.util.find_spec(name) for name in ("torch", "onnxscript")):
            G_LOGGER.critical("spgvton: --spgvton-torch needs PyTorch: pip install 'spgvton[export,polygraphy]'")
        script.add_import(imports=["TorchRunner"], frm=RUNNER)
        script.add_runner(make_invocable("TorchRunner", bundle.folder, bundle.graph()))


# ----- --spgvton-plugin -----------------------------------------------------------------------------------------------


class SpgvtonPluginArgs(BaseArgs):
    """
    SPG-VTON Plugin: the TensorRT plugin that computes the warp.

    Depends on:

        - ModelArgs
        - TrtLoadNetworkArgs
        - TrtLoadPluginsArgs
    """

    def add_parser_args_impl(self) -> None:
        self.group.add_argument(
            "--spgvton-plugin",
            metavar="FILE",
            help="libspgvton_plugin.so for --trt: loaded into TensorRT's plugin registry (--plugins would not register "
            "it), and the ONNX graph is parsed without the function body, so that nothing else can compute the warp.",
        )

    def parse_impl(self, args: Any) -> None:
        library = args_util.get(args, "spgvton_plugin")
        if library is None:
            return
        if not Path(library).is_file():
            G_LOGGER.critical(
                f"spgvton: there is no plugin library {library}: build it (cmake -B build/native && cmake --build "
                "build/native), or leave out --spgvton-plugin: the standard operators then compute the warp"
            )
        groups = self.arg_groups
        groups[TrtLoadPluginsArgs] = _PluginLibraryArgs(groups[TrtLoadPluginsArgs], library)
        # The network's loader alone sees another OnnxLoadArgs; ONNX Runtime reads the file as it is.
        network, view = groups[TrtLoadNetworkArgs], ArgGroups()
        for kind, group in groups.items():
            view[kind] = group
        view[OnnxLoadArgs] = _StrippedOnnxArgs(groups[ModelArgs])
        network.register(view)


class _PluginLibraryArgs(TrtLoadPluginsArgs):
    """Polygraphy's --plugins, and our library: in TensorRT's registry before anything is parsed or deserialised."""

    def __init__(self, original: TrtLoadPluginsArgs, library: str) -> None:
        super().__init__()
        self.__dict__.update(vars(original))
        self._library = str(Path(library).resolve())

    def add_to_script_impl(self, script: Any, loader_name: Any) -> Any:
        inner = super().add_to_script_impl(script, loader_name)
        script.add_import(imports=["WithPlugin"], frm=LOADERS)
        return script.add_loader(make_invocable("WithPlugin", self._library, inner), "with_spgvton_plugin")


class _StrippedOnnxArgs(BaseArgs):
    """In the place of OnnxLoadArgs: the graph as `spgvton build --warp plugin` prepares it."""

    def __init__(self, model: ModelArgs) -> None:
        super().__init__()
        self._model = model

    def must_use_onnx_loader(self, disable_custom_outputs: bool | None = None) -> bool:
        return True

    def add_to_script_impl(
        self, script: Any, disable_custom_outputs: bool | None = None, serialize_model: bool | None = None
    ) -> Any:
        if not self._model.model_type.is_onnx():
            G_LOGGER.critical("spgvton: --spgvton-plugin needs an ONNX graph or an engine as the model")
        script.add_import(imports=["GraphForPlugin"], frm=LOADERS)
        return script.add_loader(make_invocable("GraphForPlugin", self._model.path), "graph_for_spgvton_plugin")
