"""What every client of the benchmarks is: a base URL in, the texts of one answer out, again and again."""

from __future__ import annotations

from collections.abc import Iterator


class Client:
    """Stream the answer of one base URL; all of them ask the same."""

    def prepare(self) -> None:
        """Make ready for one run; its cost is not counted."""

    def texts(self) -> Iterator[str]:
        """Ask, and give the text of each chunk; its cost is counted."""
        raise NotImplementedError

    def another(self) -> Client:
        """Give the client that another thread uses; it shares what its documentation lets threads share."""
        return self

    def close(self) -> None:
        """Give up what is open."""
