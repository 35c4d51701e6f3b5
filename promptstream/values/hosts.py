"""A host's name in, whether it is this machine out."""

from __future__ import annotations


def is_loopback(host: str) -> bool:
    """Tell whether *host*, a name or an address without brackets, cannot be another machine (RFC 6761 section 6.3)."""
    from ipaddress import ip_address

    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
