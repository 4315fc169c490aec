"""What every verb keeps to: examples in each --help, no option silently passed over; and a soak says when it proves nothing."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pytest

from spgvton.bench.soak import COLUMNS, Samples, Verdict
from spgvton.cli import VERBS, build_parser, main


def parsers(verb: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """VERB's parser and those of its sub-verbs."""
    for action in build_parser(verb)._actions:
        if isinstance(action, argparse._SubParsersAction):
            found = action.choices[verb]
            yield f"spgvton {verb}", found
            for inner in found._actions:
                if isinstance(inner, argparse._SubParsersAction):
                    yield from ((f"spgvton {verb} {name}", sub) for name, sub in inner.choices.items())


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_has_an_example(verb: str) -> None:
    pytest.importorskip(VERBS[verb][0])
    for command, parser in parsers(verb):
        shown = parser.format_help()
        assert any(command in line for line in shown.partition("\n\n")[2].splitlines()), command


@pytest.mark.parametrize(
    "words",
    [
        ["--person", "a.jpg", "--person", "b.jpg"], ["--view=result", "--view", "result"],
        ["--thre", "1", "--threads", "2"],
    ],
)  # fmt: skip
def test_an_option_of_one_value_is_not_taken_twice(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--source", "0", "--garment", "a.jpg", *words]) == 2
    assert "is given twice, and takes one value" in capsys.readouterr().err


def test_options_that_may_be_repeated_are(capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "--source", "0", "--garment", "missing.jpg", "--sink", "null", "--sink", "null"]
    assert main(run) == 1  # for the garment, which is not there
    assert "twice" not in capsys.readouterr().err


@pytest.mark.parametrize(("minutes", "short"), [(2, True), (5, True), (20, False)])
def test_a_soak_that_is_too_short_says_so(minutes: float, short: bool) -> None:
    samples = Samples(2000)
    rng = np.random.default_rng(0)
    for second in np.arange(0, 60 * minutes, 2.0):
        row = dict.fromkeys(COLUMNS, 5.0) | {"seconds": float(second), "rss_mib": 300 + float(rng.random())}
        samples.add(*(row[name] for name in COLUMNS))
    verdict = Verdict.of(samples)
    assert verdict.too_short is short and verdict.as_dict()["too_short"] is short
