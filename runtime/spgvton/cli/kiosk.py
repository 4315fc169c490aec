"""Run a mirror as a kiosk: web page, catalogue, metrics, watchdog; and install it as a service.

examples:
  spgvton kiosk init shop                        a folder with kiosk.yaml and three garments, ready to run
  spgvton kiosk run --config shop/kiosk.yaml     then open http://127.0.0.1:8080/ (staff: /operator)
  spgvton kiosk run --config shop/kiosk.yaml --host 0.0.0.0      for other machines too: a token is needed
  spgvton kiosk import --config shop/kiosk.yaml photographs/      cut out in bulk; staff look at them on /review
  spgvton kiosk privacy-notice --config shop/kiosk.yaml --language de     what customers are told, to be printed
  spgvton kiosk prepare --config shop/kiosk.yaml      builds TensorRT's engine; the service does it before its first start
  spgvton kiosk install --config /etc/spgvton/kiosk.yaml --dry-run
  sudo spgvton kiosk install --config /etc/spgvton/kiosk.yaml --browser

Exit codes: 0 stopped as asked, 1 failed, 2 wrong use, 75 could not heal itself: start it again (the service does).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spgvton.errors import UsageError

if TYPE_CHECKING:
    from spgvton.kiosk.service.config import KioskConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `spgvton kiosk`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    init = actions.add_parser("init", help="make a folder with kiosk.yaml and the three shipped garments")
    init.add_argument("folder", type=Path, metavar="DIR")
    run_ = actions.add_parser("run", help="run the kiosk")
    run_.add_argument("--config", required=True, type=Path, metavar="YAML")
    run_.add_argument("--host", help="listen on this address instead of web.host; not loopback: a token is needed")
    run_.add_argument("--port", type=int, help="instead of web.port")
    ready = actions.add_parser("prepare", help="build the engine now, so that the first start is quick")
    ready.add_argument("--config", required=True, type=Path, metavar="YAML")
    import_ = actions.add_parser("import", help="cut garments out of many photographs, for the review page")
    import_.add_argument("--config", required=True, type=Path, metavar="YAML")
    import_.add_argument("photographs", nargs="+", type=Path, metavar="PICTURE", help="a picture, or a folder of them")
    import_.add_argument("--json", action="store_true", help="print the counts as JSON on stdout")
    notice = actions.add_parser("privacy-notice", help="print what this kiosk tells customers about their pictures")
    notice.add_argument("--config", required=True, type=Path, metavar="YAML")
    notice.add_argument("--language", metavar="CODE", help="one of language.offered; otherwise language.default")
    install = actions.add_parser("install", help="write the systemd units")
    install.add_argument("--config", required=True, type=Path, metavar="YAML", help="as the service reads it")
    install.add_argument("--user", default="spgvton", help="system user of the service (spgvton)")
    install.add_argument("--browser", action="store_true", help="also a unit that shows the page full-screen")
    install.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="write below DIR (for images)")
    install.add_argument("--dry-run", action="store_true", help="print what would be written")


def _import(config: KioskConfig, args: argparse.Namespace) -> int:
    """Exit code 1 when a photograph was refused; the others wait."""
    from spgvton.cli.parse import find
    from spgvton.kiosk.service.bulk_import import import_photographs

    counts = import_photographs(config, [picture for picture, _ in find(args.photographs, config.state)])
    if args.json:
        print(json.dumps(counts))
    words = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    print(f"{words}; staff decide on the page /review of the kiosk", file=sys.stderr)
    return 1 if counts["refused"] else 0


def _notice(config: KioskConfig, code: str | None) -> int:
    from spgvton.kiosk.service.language import languages
    from spgvton.kiosk.service.notice import as_text

    known = languages(config.language.folder)
    wanted = code or config.language.default
    if wanted not in known:
        raise UsageError(f"--language {wanted}: there are {', '.join(sorted(known))}")
    print(as_text(config, known[wanted]))
    return 0


def run(args: argparse.Namespace) -> int:
    """`spgvton kiosk`. Returns the exit code; raises SpgvtonError."""
    from spgvton.kiosk.service import config as kiosk_config

    if args.action == "init":
        from spgvton.kiosk.service.example import make_example

        path = make_example(args.folder)
        print(f"written: {path}; now: spgvton kiosk run --config {path}", file=sys.stderr)
        return 0
    config = kiosk_config.load(args.config)
    if args.action == "prepare":
        from spgvton.kiosk.service.prepare import prepare

        print(", ".join(f"{k} {v}" for k, v in prepare(config).items()), file=sys.stderr)
        return 0
    if args.action == "import":
        return _import(config, args)
    if args.action == "privacy-notice":
        return _notice(config, args.language)
    if args.action == "install":
        from spgvton.kiosk.service.units import install

        return install(config, args.config, user=args.user, browser=args.browser, root=args.root, dry_run=args.dry_run)
    from spgvton.kiosk.web.server import run_kiosk

    code = run_kiosk(kiosk_config.with_address(config, args.host, args.port))
    # All is closed. A daemon thread that is still inside ONNX Runtime or a camera's driver would make the interpreter's
    # own way out end in SIGABRT.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
