"""Names of pictures in, all of them where none is named; the pictures of the docs out, each of a real run.

::

    python docs/make_pictures                     # all
    python docs/make_pictures terminal.png        # this one

It needs the extra ``test``, Chromium, and the fonts DejaVu Sans and DejaVu Sans Mono.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import browsed  # noqa: E402
import notes  # noqa: E402
import typed  # noqa: E402

FOLDER = ROOT / "docs" / "pictures"
PICTURES = {**typed.PICTURES, **browsed.PICTURES, **notes.PICTURES}
"""What makes each picture, by its name."""


def main(names: list[str]) -> None:
    """Make the pictures of these names.

    Raises:
        SystemExit: there is none of such a name.
    """
    if unknown := {*names} - {*PICTURES}:
        sys.exit(f"There is no picture {', '.join(sorted(unknown))}. There are: {', '.join(PICTURES)}.")
    FOLDER.mkdir(exist_ok=True)
    for name in names or PICTURES:
        path = FOLDER / name
        PICTURES[name](path)
        sys.stdout.write(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} KiB\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
