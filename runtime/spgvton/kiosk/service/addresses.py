"""Network addresses as settings name them."""

from __future__ import annotations

import ipaddress


def is_address(name: str) -> bool:
    """Whether NAME is an IP address, and no host's name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a server bound to HOST can be reached from this machine only."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)
