"""A pack in, a relay out: its conversations over WebSockets, Server-Sent Events and a web page. Extra ``web``."""

from __future__ import annotations

from promptstream.web.relay import Relay

__all__ = ["Relay"]
