"""A peer's name in, the Python that runs it out: of an environment of its own, or this one where it is installed.

``python -m benchmarks.peers --install`` makes the environments, ``python -m benchmarks.peers`` tells which there are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import metadata

from benchmarks import report

PEERS: dict[str, tuple[str, ...]] = {
    "openai": ("openai", "pydantic"),
    "anthropic": ("anthropic", "pydantic"),
    "google-genai": ("google-genai", "pydantic"),
    "ollama": ("ollama",),
    "llm": ("llm", "llm-anthropic", "llm-ollama"),
    "litellm": ("litellm",),
    "pydantic-ai": ("pydantic-ai-slim[anthropic,google,openai]",),
    "chatlas": ("chatlas[anthropic,google]",),
    "langchain": ("langchain-openai",),
}
"""What each one's environment is made of."""


class Missing(Exception):
    """A client cannot be made here; the text says why."""


def python(name: str) -> str:
    """Give the Python that runs the peer *name*, or whoever needs nothing of its own where it is empty.

    Raises:
        Missing: it is installed nowhere.
    """
    if not name:
        return sys.executable
    from benchmarks import environments  # here, since what it imports would count as the worker's memory

    if own := environments.found(name, *PEERS[name]):
        return own
    try:
        for requirement in PEERS[name]:
            metadata.version(requirement.partition("[")[0])
    except metadata.PackageNotFoundError:
        raise Missing(f"{name}: left out, it is not installed (python -m benchmarks.peers --install {name})") from None
    return sys.executable


def install(names: Sequence[str]) -> list[str]:
    """Make the environments of *names*; give what to say of those that cannot be made."""
    from benchmarks import environments

    problems = []
    for name in names:
        try:
            environments.interpreter(name, *PEERS[name])
        except environments.NotInstalled as problem:
            problems.append(str(problem))
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """List the peers, or make their environments; 1 where one that was asked for could not be made."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--install", action="store_true", help="make the environments that are not there yet")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(PEERS)} (all)")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(PEERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; choose from {', '.join(PEERS)}")
    names = options.names or list(PEERS)
    problems = install(names) if options.install else []
    for problem in problems:
        print(problem, file=sys.stderr)
    print(report.table(("peer", "version", "runs in"), [_row(name) for name in names]))
    return 1 if problems else 0


def _row(name: str) -> list[str]:
    try:
        where = python(name)
    except Missing:
        return [name, report.NONE, "nothing: not installed"]
    from benchmarks.environments import versions

    package = PEERS[name][0].partition("[")[0]
    return [name, versions(where, package)[package], "this Python" if where == sys.executable else where]


if __name__ == "__main__":
    sys.exit(main())
