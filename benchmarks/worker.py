"""A client's name in, its measurements out: the process in which one client runs alone."""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.child import Child, ChildFailed, say
from benchmarks.client import Client
from benchmarks.clients import CLIENTS
from benchmarks.crowd import crowd
from benchmarks.peers import Missing, python

STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Worker(Child):
    """Run one client in a process of its own, warmed up on *url* before anything is measured."""

    def __init__(self, name: str, url: str) -> None:
        entry = CLIENTS[name]
        super().__init__("benchmarks.worker", name, environment=entry.environment, python=python(entry.peer))
        try:
            hello = self.ask(do="make", url=url)
            if "missing" in hello:
                raise Missing(f"{entry.label}: left out, {hello['missing']}")
            self.versions: dict[str, str] = hello["versions"]
            for _ in range(3):
                self.ask(do="stream", url=url)
        except (Missing, ChildFailed):
            self.close()
            raise


def stream(client: Client) -> dict[str, Any]:
    """Measure one whole stream: CPU and wall seconds, and the characters that came."""
    client.prepare()
    gc.collect()
    characters = 0
    wall, cpu = time.perf_counter(), time.process_time()
    for text in client.texts():
        characters += len(text)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu": cpu, "wall": wall, "characters": characters}


def first(client: Client, times: int) -> dict[str, Any]:
    """Measure CPU seconds from the call to the first text, and of the whole call, *times* times."""
    to_first, whole = [], []
    gc.collect()
    for _ in range(times):
        client.prepare()
        begin = time.process_time()
        texts = client.texts()
        while not next(texts):
            pass
        to_first.append(time.process_time() - begin)
        for _text in texts:
            pass
        whole.append(time.process_time() - begin)
    return {"first": to_first, "call": whole}


def delays(client: Client) -> dict[str, Any]:
    """Measure the seconds from the server's sending each chunk, which holds that time, to the loop's having it."""
    client.prepare()
    gc.collect()
    taken = [(time.monotonic_ns() - int(text)) / 1e9 for text in client.texts() if text]
    return {"delays": taken}


def memory(client: Client) -> dict[str, Any]:
    """Measure by how much the peak of resident memory grows over one stream, the answer's text joined at its end."""
    client.prepare()
    gc.collect()
    exact = _reset_peak()
    before = _resident("VmRSS") if exact else _resident("VmHWM")
    answer = "".join(list(client.texts()))
    growth = _resident("VmHWM") - before
    return {"before": before, "growth": growth, "exact": exact, "characters": len(answer)}


def _reset_peak() -> bool:
    """Make the peak start anew from what is resident now; only Linux can."""
    try:
        REFERENCES.write_text("5")
    except OSError:
        return False
    return True


def _resident(field: str) -> int:
    """Give ``VmRSS`` or ``VmHWM`` in bytes; where there is no /proc, the peak so far for both."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    return {package: metadata.version(package) for package in packages}


def _perform(clients: dict[str, Client], name: str, command: dict[str, Any]) -> dict[str, Any]:
    entry, url = CLIENTS[name], command["url"]
    if command["do"] == "make":
        try:
            versions = _versions(entry.packages)
            clients[url] = entry.make(url)
        except (ImportError, AttributeError) as error:
            return {"missing": f"it cannot be imported ({error})"}
        return {"versions": versions}
    client = clients.get(url) or clients.setdefault(url, entry.make(url))
    if command["do"] == "first":
        return first(client, command["times"])
    if command["do"] == "crowd":
        return {**crowd(client, command["streams"], command["spread"]), "resident": _resident("VmHWM")}
    return {"stream": stream, "delays": delays, "memory": memory}[command["do"]](client)


def main() -> None:
    """Obey one JSON line at a time until the input ends."""
    clients: dict[str, Client] = {}
    sys.stdout = sys.stderr  # what a library prints is no answer
    for line in sys.stdin:
        try:
            say(**_perform(clients, sys.argv[1], json.loads(line)))
        except Exception as error:
            say(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
