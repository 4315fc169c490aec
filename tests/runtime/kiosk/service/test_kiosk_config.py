"""kiosk.yaml: right values arrive, wrong ones are told with line and key."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spgvton.cli import main
from spgvton.economy import Economy
from spgvton.errors import SpgvtonError, UsageError
from spgvton.kiosk.service import config
from spgvton.kiosk.service.example import make_example
from spgvton.kiosk.web import server

FOLDER = Path("/shop")
MINIMAL = "source: 0\ncatalogue: garments\nstate: /var/lib/spgvton\n"


def parse(text: str) -> config.KioskConfig:
    return config.parse(text, "kiosk.yaml", FOLDER)


def test_defaults_are_safe() -> None:
    found = parse(MINIMAL)
    assert found.source == "0" and found.catalogue == FOLDER / "garments" and found.state == Path("/var/lib/spgvton")
    assert found.web.host == "127.0.0.1" and found.recording.folder is None and found.screen == "none"


def test_economy_is_off_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Economy] = []
    monkeypatch.setattr(server, "Mirror", lambda *_, economy, **__: made.append(economy))
    server.make_mirror(parse(MINIMAL))
    server.make_mirror(parse(MINIMAL + "mirror:\n  still_threshold: 1\n  max_age_ms: 250\n  steady: true"))
    assert made == [Economy(), Economy(1.0, 0.25, True)]


@pytest.mark.parametrize(
    ("source", "means"),
    [
        ("rtsp://cam/main", "rtsp://cam/main"),
        ("/dev/video0", "/dev/video0"),
        ("walk.mp4", "/shop/walk.mp4"),
        ("12", "12"),
    ],
)
def test_sources(source: str, means: str) -> None:
    assert parse(MINIMAL.replace("source: 0", f"source: {source}")).source == means


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "kiosk.yaml: should be settings, one `key: value` per line"),
        ("- a\n- b", "kiosk.yaml: should be settings"),
        ("source: [", "kiosk.yaml:1: not YAML: "),
        ("source: 0\n\tx: 1", "kiosk.yaml:2: not YAML: "),
        ("a: 2026-99-99", "kiosk.yaml: not YAML that can be read: ValueError"),
        ('a: "\\UFFFFFFFF"', "kiosk.yaml: not YAML that can be read: a \\U escape"),
        ("a: &x 1\nb: *x", "kiosk.yaml: YAML aliases"),
        ("source: 0\nstate: s", "kiosk.yaml:1: catalogue: is missing"),
        (MINIMAL + "sorce: 1", "kiosk.yaml:4: sorce: no such setting; did you mean source?"),
        (MINIMAL + "xyzzy: 1", "kiosk.yaml:4: xyzzy: no such setting; there are source, catalogue"),
        (MINIMAL + "web:\n  prot: 1", "kiosk.yaml:5: web.prot: no such setting; did you mean port?"),
        (MINIMAL + "web: 3", "kiosk.yaml:4: web: should be settings of its own"),
        (MINIMAL + "web:\n  port: eighty", "kiosk.yaml:5: web.port: should be a whole number, not 'eighty'"),
        (MINIMAL + "web:\n\n  port: 99999", "kiosk.yaml:6: web.port: should be less than or equal to 65535, not 99999"),
        (MINIMAL + "mirror:\n  mirrored: 1", "kiosk.yaml:5: mirror.mirrored: should be true or false, not 1"),
        (MINIMAL + "mirror:\n  view: front", "should be 'side-by-side' or 'result', not 'front'"),
        (MINIMAL + "mirror:\n  still_threshold: 9", "kiosk.yaml:5: mirror.still_threshold: should be less than or equal to 8"),
        (MINIMAL + "mirror:\n  max_age_ms: 0", "kiosk.yaml:5: mirror.max_age_ms: should be greater than or equal to 1"),
        (MINIMAL + "mirror:\n  label_set: x", "mirror.label_set: should be one of"),
        (MINIMAL + "web:\n  allowed_hosts: [ok.example, 'a b']", "kiosk.yaml:5: web.allowed_hosts.1: should match pattern"),
        (MINIMAL + "source: 1", "kiosk.yaml:source"),
        (MINIMAL + "web: {port: 1, port: 2}", "kiosk.yaml:4: web.port: is given twice"),
        (MINIMAL.replace("source: 0", "source: 1.5"), "kiosk.yaml:1: source: should be a text, not 1.5"),
    ],
)  # fmt: skip
def test_mistakes_are_told_exactly(text: str, message: str) -> None:
    with pytest.raises(SpgvtonError) as caught:
        parse(text)
    expected = "kiosk.yaml:4: source: is given twice" if message == "kiosk.yaml:source" else message
    assert expected in str(caught.value), str(caught.value)


def test_all_mistakes_at_once() -> None:
    with pytest.raises(SpgvtonError) as caught:
        parse("state: s\nweb:\n  port: x\n  hots: y\n")
    assert len(str(caught.value).splitlines()) == 4


@settings(max_examples=150, deadline=None)
@given(st.one_of(
    st.text(alphabet="source: catalogue\n-[]{}&*!|>'\"#%@,?0123456789\t\0", max_size=80),
    st.text(max_size=80),
    st.lists(st.tuples(st.sampled_from(["source", "web", "state", "mirror", "catalogue"]), st.text(max_size=20)))
    .map(lambda pairs: "\n".join(f"{k}: {v}" for k, v in pairs)),
))  # fmt: skip
def test_no_text_does_anything_but_parse_or_explain(text: str) -> None:
    try:
        assert isinstance(parse(text), config.KioskConfig)
    except SpgvtonError as e:
        assert str(e).startswith("kiosk.yaml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpgvtonError, match="No such file"):
        config.load(tmp_path / "none.yaml")
    (tmp_path / "big.yaml").write_text("#" * (config.MAX_BYTES + 1))
    with pytest.raises(SpgvtonError, match="at most"):
        config.load(tmp_path / "big.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"source: \xfc")
    with pytest.raises(SpgvtonError, match=r"not UTF-8 text \(byte 8\)"):
        config.load(tmp_path / "latin.yaml")


@pytest.mark.parametrize("text", ["[" * config.MAX_BYTES, "- " * 30000, "{a: " * 16000, "[a, " * 16000])
def test_nesting_is_bounded(text: str) -> None:
    """64 KiB of brackets keep PyYAML busy for minutes."""
    started = time.process_time()
    with pytest.raises(SpgvtonError, match=r"^kiosk.yaml:1: settings are nested more than 16 deep: .*\Z"):
        config.parse(text, "kiosk.yaml", Path())
    assert time.process_time() - started < 2


def test_host_and_port_of_the_command_line() -> None:
    found = config.with_address(parse(MINIMAL), "0.0.0.0", 81)
    assert (found.web.host, found.web.port) == ("0.0.0.0", 81)
    assert config.with_address(parse(MINIMAL), None, None) == parse(MINIMAL)
    with pytest.raises(UsageError, match="--port: should be less than"):
        config.with_address(parse(MINIMAL), None, 70000)


def test_the_example_is_valid_and_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kiosk", "init", str(tmp_path / "shop")]) == 0
    found = config.load(tmp_path / "shop/kiosk.yaml")
    assert found.source == "synthetic://" and len(list(found.catalogue.iterdir())) == 6
    with pytest.raises(SpgvtonError, match="is there already"):
        make_example(tmp_path / "shop")
    assert main(["kiosk", "run", "--config", str(tmp_path / "none.yaml")]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("spgvton kiosk: cannot read")
