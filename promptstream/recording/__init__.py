"""A turn's requests and chunks in, lines of a file out, and back.

The format is told in docs/testing.md. ``Recorder`` (middleware) writes it, ``Replay`` (providers) plays it.
"""

from __future__ import annotations

FORMAT = 1
"""The version of the format that is written; a reader takes this one and those before it."""
MARK = "promptstream"
"""The key of a file's first line that says what the file is: ``{"promptstream": "recording", "format": 1, …}``."""
