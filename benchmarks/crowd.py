"""A client and a number of threads in, how late each chunk was in that many streams at once out."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

from benchmarks.client import Client
from benchmarks.wire import STAMP

DIGITS = len(STAMP)
Taken = list[tuple[int, str]]


def crowd(client: Client, streams: int, spread: float) -> dict[str, Any]:
    """Stream stamped answers in *streams* threads, which begin within *spread* seconds of each other.

    Gives the seconds from the server's send to the loop of each event, CPU and wall seconds, and what failed.
    """
    clients = [client.another() for _ in range(streams)]
    start, errors = threading.Barrier(streams + 1), []
    taken: list[Taken] = [[] for _ in clients]

    def run(number: int) -> None:
        mine, own = clients[number], taken[number]
        mine.prepare()
        start.wait()
        time.sleep(spread * number / streams)
        try:
            for text in mine.texts():
                own.append((time.monotonic_ns(), text))
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}"[:200])

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(streams)]
    for thread in threads:
        thread.start()
    gc.collect()
    start.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    for each in clients:
        each.close()
    return {"cpu": cpu, "wall": wall, "delays": _delays(taken), "failed": len(errors), "errors": errors[:3]}


def _delays(taken: list[Taken]) -> list[float]:
    """Give each event's delay in seconds; a client may join the texts of several."""
    return [
        (now - int(text[begin : begin + DIGITS])) / 1e9
        for own in taken
        for now, text in own
        for begin in range(0, len(text), DIGITS)
    ]
