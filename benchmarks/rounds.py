"""Clients' names in, their processes out, and the order in which they are measured."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

from benchmarks.child import ChildFailed
from benchmarks.clients import CLIENTS
from benchmarks.peers import Missing
from benchmarks.server import Server
from benchmarks.worker import Worker


def start(stack: ExitStack, names: Sequence[str], server: Server) -> dict[str, Worker]:
    """Start a warmed-up worker for each client that can be made; say which cannot.

    Raises:
        ChildFailed: none can be.
    """
    workers, said = {}, set()
    for name in names:
        try:
            workers[name] = stack.enter_context(Worker(name, server.url(200, protocol=CLIENTS[name].protocol)))
        except (Missing, ChildFailed) as problem:
            if str(problem) not in said:
                print(problem, file=sys.stderr)
            said.add(str(problem))
    if not workers:
        raise ChildFailed("No client could be started.")
    return workers


def turns(names: Iterable[str], rounds: int) -> Iterator[str]:
    """Give whose turn it is: each once a round, each round begun by another, so that none always follows the same."""
    order = list(names)
    for _ in range(rounds):
        order.append(order.pop(0))
        yield from order
