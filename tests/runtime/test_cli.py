"""The command line as a whole: help, exit codes, missing extras, and what the runtime may import."""

import subprocess
import sys
from pathlib import Path

import pytest

from spgvton.cli import VERBS, main

RUNTIME = Path(__file__).parents[2] / "runtime" / "spgvton"


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"spgvton {verb}" in capsys.readouterr().out.split("options:")[0].split("usage:")[1].partition("\n\n")[2]


@pytest.mark.parametrize("arguments", [[], ["dance"], ["synth"], ["run", "--policy", "never"]])
def test_wrong_use_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2 and "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(("verb", "module", "extra"), [("train", "torch", "train"), ("export", "onnx", "export")])
def test_a_missing_extra_is_named(verb: str, module: str, extra: str) -> None:
    code = f"import sys; sys.modules['{module}'] = None; from spgvton.cli import main; sys.exit(main(['{verb}', '--out', 'x']))"
    result = python(code)
    assert result.returncode == 1
    assert result.stderr.strip() == f"spgvton {verb}: {module} is missing: pip install 'spgvton[{extra}]'"


def test_the_runtime_never_imports_torch() -> None:
    files = sorted(RUNTIME.rglob("*.py"))
    names = [".".join(p.relative_to(RUNTIME.parent).with_suffix("").parts).removesuffix(".__init__") for p in files]
    code = f"import importlib, sys\nfor m in {names!r}: importlib.import_module(m)\nprint('torch' in sys.modules, len({names!r}))"
    result = python(code)
    assert result.returncode == 0, result.stderr
    answer, count = result.stdout.split()
    assert answer == "False" and int(count) > 30
