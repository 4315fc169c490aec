"""kiosk.yaml: every setting of a kiosk in one file, checked before anything is opened.

Each problem is told with its line and key, all of them at once. Paths are relative to the folder of the file.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo

from spgvton.economy import MAX_STILL
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import read_file
from spgvton.kiosk.service.language import CODE
from spgvton.kiosk.yaml_text import check_events
from spgvton.labels import LABEL_SETS
from spgvton.perception.parser_options import SHIPPED, SIZE
from spgvton.stream.slot import Policy

MAX_BYTES: Final = 64 * 2**10
HOST_NAME: Final = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
TAGS: Final = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}


def _folder(info: ValidationInfo) -> Path:
    assert info.context is not None  # parse() gives it
    folder: Path = info.context["folder"]
    return folder


def _beside(path: Path, info: ValidationInfo) -> Path:
    try:
        return (_folder(info) / path.expanduser()).resolve()
    except (RuntimeError, OSError) as e:  # ~nobody, a loop of links
        raise ValueError(f"is no path: {e}") from e


def _source(uri: str, info: ValidationInfo) -> str:
    """Files relative to the configuration; cameras, /dev and URLs as they are."""
    if "://" in uri or re.fullmatch(r"\d{1,3}", uri):
        return uri
    return str(_folder(info) / uri)


def _label_set(name: str) -> str:
    if name not in LABEL_SETS:
        raise ValueError(f"should be one of {', '.join(LABEL_SETS)}")
    return name


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError as e:
        raise ValueError("should be an address or a network such as 10.0.0.0/8") from e
    return text


def _parser(which: str | None, info: ValidationInfo) -> str | None:
    return which if which is None or which in SHIPPED else str(_beside(Path(which), info))


ConfigPath = Annotated[Path, AfterValidator(_beside)]


class Section(BaseModel):
    """A part of the file: nothing unknown, nothing changed later, no guessing of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class MirrorConfig(Section):
    """How the loop runs. mode: see Mirror. parser: an ONNX human parser, or the name of one that ships; without it live mode's own.

    parser_size ("HxW"), parser_colour, parser_normalisation: how it wants its picture.
    rotate: degrees clockwise, of a camera that hangs on its side.
    warp, plugin: of TensorRT's engine, see `spgvton build`.
    compositor, compositor_library: of live mode, see spgvton.live.compositors.
    still_threshold (network pixels), steady, max_age_ms: see spgvton.economy; 0 and none are off.
    """

    mode: Literal["live", "pose"] = "live"
    rotate: Literal[0, 90, 180, 270] = 0
    backend: str = Field(default="onnxruntime", pattern=r"^[a-z][a-z0-9-]{0,30}$")
    warp: Literal["plugin", "function"] | None = None
    plugin: Annotated[ConfigPath | None, Field(strict=False)] = None
    compositor: Literal["cpu", "cuda"] = "cpu"
    compositor_library: Annotated[ConfigPath | None, Field(strict=False)] = None
    policy: Policy = "latest"
    mirrored: bool = True
    view: Literal["side-by-side", "result"] = "result"
    wipe_after_s: float = Field(default=10.0, ge=1, le=3600)
    parser: Annotated[str | None, AfterValidator(_parser)] = None
    label_set: Annotated[str, AfterValidator(_label_set)] = "cihp"
    parser_size: str | None = Field(default=None, pattern=SIZE)
    parser_colour: Literal["bgr", "rgb"] = "bgr"
    parser_normalisation: Literal["imagenet", "unit", "symmetric", "raw"] = "imagenet"
    threads: int | None = Field(default=None, ge=1, le=256)
    still_threshold: float = Field(default=0.0, ge=0, le=MAX_STILL)
    steady: bool = False
    max_age_ms: float | None = Field(default=None, ge=1, le=60000)


class WebConfig(Section):
    """The web server. host: anything but a loopback address makes the token necessary, as trusted_proxies does.

    trusted_proxies: reverse proxies whose X-Forwarded-For says whom limits and lockout are for.
    """

    host: str = Field(default="127.0.0.1", min_length=1, max_length=253)
    port: int = Field(default=8080, ge=0, le=65535)
    allowed_hosts: tuple[Annotated[str, Field(pattern=HOST_NAME)], ...] = Field(default=(), strict=False, max_length=32)
    token: Literal["auto", "always"] = "auto"
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        default=(), strict=False, max_length=32
    )
    viewers: int = Field(default=64, ge=1, le=1000)
    viewers_per_address: int = Field(default=8, ge=1, le=1000)
    fps: float = Field(default=30.0, gt=0, le=120)
    jpeg_quality: int = Field(default=80, ge=30, le=95)
    max_side: int = Field(default=1280, ge=240, le=4096)
    upload_mib: int = Field(default=12, ge=1, le=32)


class LanguageConfig(Section):
    """Of the customer's page. offered: the languages of its button, in this order; a single one needs no button.

    folder: of the shop's own words and languages, see spgvton.kiosk.service.language.
    """

    default: str = Field(default="en", pattern=CODE)
    offered: tuple[Annotated[str, Field(pattern=CODE)], ...] = Field(
        default=("en", "de", "fr", "es", "ja", "zh-Hans"), strict=False, min_length=1, max_length=32
    )
    folder: Annotated[ConfigPath | None, Field(strict=False)] = None


class PrivacyConfig(Section):
    """consent: the camera's pictures are looked at only after somebody agreed on the screen. contact: whom customers may ask.

    hand: with touchless.enabled, a raised hand agrees, too; for that one thing pictures are looked at before.

    The notice's words are the language catalogue's, which language.folder may replace.
    """

    consent: bool = False
    hand: bool = True
    contact: str = Field(default="", max_length=300, pattern=r"^[^\x00-\x1f]*$")


class AttractConfig(Section):
    """While nobody is there. after_s: so long after the last customer; 0 = never. camera: its picture goes on behind the prompt."""

    after_s: float = Field(default=8.0, ge=0, le=3600)
    camera: bool = False


class TouchlessConfig(Section):
    """Choosing by a raised hand. dwell_s: for how long it is held still to choose."""

    enabled: bool = True
    dwell_s: float = Field(default=1.5, ge=0.5, le=10)


class RecordingConfig(Section):
    """Where recordings go once someone switches recording on. Without a folder it cannot be switched on."""

    folder: Annotated[ConfigPath | None, Field(strict=False)] = None
    minutes: float = Field(default=10.0, gt=0, le=120)


def _announced(address: str | None) -> str | None:
    """http://host:port that another machine can open."""
    if address is None:
        return None
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError as e:
        raise ValueError(f"is no address: {e}") from e
    if parts.scheme not in ("http", "https") or not host or parts.path.strip("/") or parts.query or parts.username:
        raise ValueError("should be http://NAME:PORT or https://NAME, as phones reach this machine")
    if host == "localhost" or host.endswith(".localhost") or _leads_nowhere(host):
        raise ValueError(f"should be how phones reach this machine; {host} is each machine itself")
    return address


def _leads_nowhere(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified or address.is_multicast


class TakeHomeConfig(Section):
    """A still for the customer's phone. address: as phones reach this kiosk; without it there are none. most: that wait at a time."""

    address: Annotated[str | None, AfterValidator(_announced)] = Field(default=None, max_length=200)
    minutes: float = Field(default=5.0, ge=0.5, le=60)
    most: int = Field(default=8, ge=1, le=32)


class WatchdogConfig(Section):
    """Seconds until the process gives up and lets its supervisor start it again. source_s 0: waits for ever."""

    start_s: float = Field(default=120.0, ge=1, le=3600)
    stall_s: float = Field(default=15.0, ge=2, le=600)
    source_s: float = Field(default=300.0, ge=0, le=86400)


class KioskConfig(Section):
    """Everything about one kiosk."""

    source: Annotated[str, AfterValidator(_source)] = Field(min_length=1, max_length=2000)
    catalogue: Annotated[ConfigPath, Field(strict=False)]
    state: Annotated[ConfigPath, Field(strict=False)]
    bundle: Annotated[ConfigPath | None, Field(strict=False)] = None
    screen: Literal["none", "window", "window:fullscreen"] = "none"
    mirror: MirrorConfig = MirrorConfig()
    web: WebConfig = WebConfig()
    language: LanguageConfig = LanguageConfig()
    touchless: TouchlessConfig = TouchlessConfig()
    attract: AttractConfig = AttractConfig()
    recording: RecordingConfig = RecordingConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    take_home: TakeHomeConfig = TakeHomeConfig()
    watchdog: WatchdogConfig = WatchdogConfig()

    @property
    def hand_agrees(self) -> bool:
        """Whether a raised hand is looked for before consent."""
        return self.privacy.consent and self.privacy.hand and self.touchless.enabled


def load(path: str | Path) -> KioskConfig:
    """The configuration in the YAML file PATH. Raises SpgvtonError with one line per problem: `file:line: key: what`."""
    file = Path(path)
    try:
        text = read_file(file, MAX_BYTES, "a kiosk.yaml").decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise SpgvtonError(f"{file} is not UTF-8 text (byte {e.start}): save it as UTF-8") from e
    return parse(text, file.name, file.resolve().parent)


def parse(text: str, name: str, folder: Path) -> KioskConfig:
    """The configuration in TEXT; NAME is for messages, FOLDER what paths are relative to. Raises SpgvtonError."""
    try:
        check_events(text, name)
        root = yaml.compose(text, yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        raise SpgvtonError(f"{where}: not YAML: {getattr(e, 'problem', None) or e}") from e
    # 2026-99-99 as a date; PyYAML's own slips: !!int '', !!bool x, !!timestamp x
    except (ValueError, LookupError, AttributeError, TypeError) as e:
        raise SpgvtonError(f"{name}: not YAML that can be read: {type(e).__name__}: {e}") from e
    if not isinstance(root, yaml.MappingNode) or not isinstance(data, dict):
        raise SpgvtonError(f"{name}: should be settings, one `key: value` per line, such as `source: 0`")
    problems = [f"{name}:{line}: {key}: is given twice" for key, line in _twice(root)]
    try:
        config = KioskConfig.model_validate(_with_text_source(data), context={"folder": folder})
    except ValidationError as e:
        problems += [f"{name}:{_line(root, error['loc'])}: {_explain(error)}" for error in e.errors()]
    if problems:
        raise SpgvtonError("\n".join(problems))
    return config


def _with_text_source(data: dict[Any, Any]) -> dict[Any, Any]:
    """`source: 0` is a number in YAML and a camera here."""
    source = data.get("source")
    return {**data, "source": str(source)} if type(source) is int else data


def _twice(node: yaml.Node, prefix: str = "") -> Iterator[tuple[str, int]]:
    """(key, line) of every repeated key; YAML would silently take the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                yield f"{prefix}{key.value}", key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
                yield from _twice(value, f"{prefix}{key.value}.")


def _line(node: yaml.Node, location: tuple[int | str, ...]) -> int:
    """Line (from 1) of what LOCATION names, or of the nearest part around it that exists."""
    line = node.start_mark.line
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == step]
            if not found:
                break
            line, node = found[-1][0].start_mark.line, found[-1][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line
    return line + 1


def _keys(location: tuple[int | str, ...]) -> list[str]:
    """The settings that may stand where LOCATION ends."""
    section: Any = KioskConfig
    for step in location[:-1]:
        section = section.model_fields[step].annotation
    return list(section.model_fields)


def _explain(error: Any) -> str:
    """One pydantic error in words for people."""
    location, kind, given = error["loc"], error["type"], error["input"]
    key = ".".join(str(step) for step in location)
    if kind == "missing":
        return f"{key}: is missing"
    if kind == "extra_forbidden":
        known = _keys(location)
        near = difflib.get_close_matches(str(location[-1]), known, 1)
        return f"{key}: no such setting; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}")
    if kind == "model_type":
        return f"{key}: should be settings of its own, indented below `{location[-1]}:`"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    if kind.endswith("_type") and kind.split("_")[0] in {"string", "int", "float", "bool"}:
        message = "should be " + TAGS[kind.split("_")[0].replace("string", "str")]
    return f"{key}: {message}, not {given!r:.80}"


def with_address(config: KioskConfig, host: str | None, port: int | None) -> KioskConfig:
    """CONFIG with another host or port. Raises UsageError for a port that cannot be."""
    given = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    try:
        web = WebConfig.model_validate({**config.web.model_dump(), **given})
    except ValidationError as e:
        error = e.errors()[0]
        raise UsageError(f"--{error['loc'][0]}: {error['msg'].removeprefix('Input ')}, not {error['input']!r}") from e
    return config.model_copy(update={"web": web})
