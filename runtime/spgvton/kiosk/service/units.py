"""systemd units: the kiosk as a service with little more than its camera and its own folder, and a browser that shows it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder, write_text
from spgvton.kiosk.mirror.mirror import EXIT_GAVE_UP
from spgvton.kiosk.service.config import KioskConfig
from spgvton.kiosk.service.prepare import SLOW_TO_START

SERVICE: Final = "spgvton-kiosk.service"
BROWSER: Final = "spgvton-browser.service"
USERS: Final = "spgvton-kiosk.conf"
USER_NAME: Final = r"[a-z_][a-z0-9_-]{0,30}"
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
ARGUS: Final = "/tmp/argus_socket"  # where nvarguscamerasrc finds Jetson's camera daemon

SERVICE_TEXT: Final = """\
# Written by `spgvton kiosk install`. What it may not do is told by: systemd-analyze security {service}
[Unit]
Description=spgvton try-on mirror
Documentation=man:systemd.exec(5)
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
{before}ExecStart={command}
Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 "HOME={state}"
User={user}
Group={user}
SupplementaryGroups=video render
WorkingDirectory={state}
UMask=0077

# {gave_up} is "cannot heal": the source is away for too long, or no picture comes. 2 is a wrong kiosk.yaml.
Restart=always
RestartSec=1
RestartPreventExitStatus=2
TimeoutStartSec={start}
TimeoutStopSec=15
WatchdogSec=20
OOMPolicy=stop

# Files: everything is read-only but what kiosk.yaml names.
ProtectSystem=strict
ReadWritePaths={writable}
ProtectHome={home}
{temporary}
ProtectProc=invisible
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes

# Devices: cameras, and the GPU where there is one.
DevicePolicy=closed
{devices}

# Rights.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
LockPersonality=yes
RemoveIPC=yes
PrivateMounts=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @obsolete
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
# Jetson (JetPack 6 and 7) registers its GPU's nodes under the name of the device, such as 17000000.gpu or 17000000.ga10b;
# JetPack 5 and older as nvhost. CUDA opens nvmap, /dev/nvgpu/igpu0/*, host1x-fence and the render node.
IGPU: Final = (
    "as", "channel", "ctrl", "ctxsw", "dbg", "nvsched", "nvsched_ctrl_fifo", "power", "prof", "prof-ctx", "prof-dev", "sched", "tsg",
)  # fmt: skip
DEVICES: Final = (
    "char-video4linux rw", "char-nvidia rw", "char-nvidia-frontend rw", "char-nvidia-uvm rw", "char-nvidia-caps r",
    "char-drm rw", "/dev/nvmap rw", "char-*.gpu rw", "char-*.ga10b rw", "char-*.gv11b rw", "char-nvgpu* rw",
    *(f"/dev/nvgpu/igpu0/{name} rw" for name in IGPU),
    "char-host1x* rw", "/dev/host1x-fence rw", "/dev/nvhost-ctrl-gpu rw", "char-nvhost* rw",
)  # fmt: skip

USERS_TEXT: Final = """\
# Written by `spgvton kiosk install`, for systemd-sysusers.
u {user} - "spgvton kiosk" "{state}"
m {user} video
m {user} render
"""

BROWSER_TEXT: Final = """\
# Written by `spgvton kiosk install --browser`: the page full-screen on the first display, by cage (a Wayland compositor
# for one window). Log in once where a token is needed; the cookie stays in the browser's profile.
[Unit]
Description=Browser of the spgvton mirror
After={service} systemd-user-sessions.service
Wants={service}
Conflicts=getty@tty7.service
StartLimitIntervalSec=0

[Service]
User={user}
PAMName=login
TTYPath=/dev/tty7
TTYReset=yes
TTYVHangup=yes
StandardInput=tty-fail
Environment="HOME={state}"
ExecStartPre=/bin/sh -c 'until {curl} -fsS -o /dev/null {url}readyz; do sleep 1; done'
ExecStart={cage} -- {browser} --kiosk --no-first-run --disable-translate --disable-pinch \\
  --overscroll-history-navigation=0 --disable-session-crashed-bubble "--user-data-dir={state}/browser" {url}
Restart=always
RestartSec=2
TimeoutStartSec=300
NoNewPrivileges=no
ProtectSystem=full

[Install]
WantedBy=graphical.target
"""


def quote(word: str | Path) -> str:
    """WORD as one argument of ExecStart=: % and $ are systemd's own."""
    text = str(word).replace("%", "%%").replace("$", "$$")
    return (
        text if re.fullmatch(r"[\w@%+=:,./$-]+", text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    )


def _plain(path: Path) -> str:
    """PATH for settings that take no quotes. Raises SpgvtonError where it would break out of its line."""
    if not str(path).isprintable() or '"' in str(path):
        raise SpgvtonError(f"{str(path)!r} cannot stand in a unit: choose a path without quotes and control characters")
    return str(path).replace("%", "%%")


def service_unit(config: KioskConfig, config_file: Path, user: str) -> str:
    """Text of the kiosk's unit for CONFIG, read from CONFIG_FILE."""
    writable = {config.state, config.catalogue}
    if config.recording.folder:
        writable.add(config.recording.folder)
    reads = [Path(sys.executable), config_file, *writable]
    csi = config.source.startswith("csi:")

    def kiosk(verb: str) -> str:
        words = (sys.executable, "-m", "spgvton", "kiosk", verb, "--config", config_file)
        return " ".join(quote(word) for word in words)

    slow = config.mirror.backend in SLOW_TO_START
    return SERVICE_TEXT.format(
        service=SERVICE,
        # Building an engine takes minutes, on a Jetson ten and more: it must end once, or it would begin anew for ever.
        before=f"ExecStartPre={kiosk('prepare')}\n" if slow else "",
        start="infinity" if slow else 180,
        command=kiosk("run"),
        user=user,
        state=_plain(config.state),
        gave_up=EXIT_GAVE_UP,
        writable=" ".join(quote(path) for path in sorted(writable)),
        home="read-only" if any(p.is_relative_to(h) for p in reads for h in ("/home", "/root")) else "yes",
        # Argus' socket lies in the real /tmp.
        temporary=f"PrivateTmp=yes\nBindPaths=-{ARGUS}" if csi else "PrivateTmp=yes",
        devices="\n".join(f"DeviceAllow={device}" for device in DEVICES),
    )


def browser_unit(config: KioskConfig, user: str) -> str:
    """Text of the browser's unit. Raises SpgvtonError where cage, curl or a browser is not installed."""
    found = {name: shutil.which(name) for name in ("cage", "curl")}
    found["browser"] = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    missing = [name for name, path in found.items() if not path]
    if missing:
        raise SpgvtonError(f"--browser needs {', '.join(missing)}: apt-get install cage curl chromium")
    url = f"http://127.0.0.1:{config.web.port}/"
    return BROWSER_TEXT.format(service=SERVICE, user=user, state=_plain(config.state), url=url, **found)


def check(units: dict[Path, str]) -> list[str]:
    """What `systemd-analyze verify` says about units that were written; empty where it is not installed."""
    tool = shutil.which("systemd-analyze")
    services = [str(path) for path in units if path.suffix == ".service"]
    if not tool:
        return []
    try:
        done = subprocess.run(
            [tool, "verify", "--man=no", *services], check=False, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as e:
        return [f"systemd-analyze could not look at them: {e}"]
    names = [Path(service).name for service in services]
    return [line for line in done.stderr.splitlines() if any(name in line for name in names)]


def install(config: KioskConfig, config_file: Path, *, user: str, browser: bool, root: Path, dry_run: bool) -> int:
    """Write the units below ROOT, or print them. Returns the exit code: 1 when systemd finds fault with them.

    Raises UsageError, SpgvtonError.
    """
    if not re.fullmatch(USER_NAME, user) or user == "root":
        raise UsageError(f"--user {user}: a name of small letters, digits, - and _, not root")
    if config.web.port == 0:
        raise UsageError("web.port 0 is another one at each start: choose one for a service")
    config_file = config_file.resolve()
    files = {
        root / "etc/systemd/system" / SERVICE: service_unit(config, config_file, user),
        root / "etc/sysusers.d" / USERS: USERS_TEXT.format(user=user, state=_plain(config.state)),
    }
    if browser:
        files[root / "etc/systemd/system" / BROWSER] = browser_unit(config, user)
    if dry_run:
        for path, text in files.items():
            print(f"# {path}\n{text}")
        return 0
    for path, text in files.items():
        make_folder(path.parent)
        write_text(path, text)
        print(f"written: {path}", file=sys.stderr)
    faults = check(files)
    for line in faults:
        print(f"systemd-analyze: {line}", file=sys.stderr)
    folders = " ".join(shlex.quote(str(p)) for p in (config.state, config.catalogue, config.recording.folder) if p)
    enable = " ".join(path.name for path in files if path.suffix == ".service")
    print(
        f"now, as root: systemd-sysusers && mkdir -p {folders} && chown -R {user}: {folders} && systemctl daemon-reload "
        f"&& systemctl enable --now {enable}",
        file=sys.stderr,
    )
    return 1 if faults else 0
