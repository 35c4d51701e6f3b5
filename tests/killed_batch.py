"""Kill a batch at many points and start it again each time; every row ends in its output exactly once, and whole.

``python -m tests.killed_batch --kills 20`` runs ``promptstream batch`` against a loopback upstream and kills it by
SIGKILL, at any moment from its start on, or by the kernel in the middle of a line, where the file may not grow further.
What stood in the output is still there after each kill, and nobody is asked for it again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs

from promptstream.cli.commands import root

EACH = 12
"""Rows for each kill, so that about so many are written in each life."""
LONGEST = 60.0
"""Seconds after which a batch that nothing hit has failed."""


# The upstream: it says which row it was asked about, and writes that down.


class Upstream(ThreadingHTTPServer):
    """Answer after a moment, each by what it was asked; *log* takes the number of each row that is asked about."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, log: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def handle_error(self, request: object, client_address: object) -> None:
        """Take clients that are killed as they are."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = body["messages"][-1]["content"]
        os.write(self.server.log, message.split()[1].encode() + b"\n")
        time.sleep(random.random() * 0.008)
        choice = {"index": 0, "delta": {"content": answer_to(message)}, "finish_reason": "stop"}
        events = f"data: {json.dumps({'id': 'x', 'model': 'toy', 'choices': [choice]})}\n\ndata: [DONE]\n\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(events)))
        self.end_headers()
        self.wfile.write(events)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def upstream(log: Path) -> Iterator[str]:
    """Run one in a process of its own, so that this one has no threads and can fork; give its address."""
    server = Upstream(log)
    child = os.fork()
    if not child:
        server.serve_forever()
    server.server_close()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def answer_to(message: str) -> str:
    """Give what the upstream says to *message*."""
    return f"{message}: " + "yes ä漢 " * (len(message) * 7 % 40)


# The batch, and how it dies.


def begin(arguments: list[str], limit: int | None) -> int:
    """Fork a batch, which may not write files of more than *limit* bytes; give its process id."""
    child = os.fork()
    if child:
        return child
    try:
        quiet = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(quiet, standard)
        if limit is not None:
            sys.dont_write_bytecode = True  # Python takes what it could write in part for whole, and keeps it
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        root(["batch", *arguments], prog_name="promptstream")
    except SystemExit as left:
        os._exit(int(left.code or 0))
    finally:
        os._exit(70)


def end(child: int, output: Path, size: int, seconds: float) -> str:
    """Have a batch dead once *output* has so many bytes, or after so many *seconds*; give how it ended.

    That is the name of a signal, or its exit code where it ended by itself.
    """
    until = time.monotonic() + seconds
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else str(os.WEXITSTATUS(status))
        if time.monotonic() >= until or (output.exists() and output.stat().st_size >= size):
            os.kill(child, signal.SIGKILL)
        time.sleep(0.0005)


def whole(output: Path) -> bytes:
    """Give the lines of *output* that are whole."""
    content = output.read_bytes() if output.exists() else b""
    return content[: content.rfind(b"\n") + 1]


def numbers(lines: bytes) -> list[int]:
    """Give the rows of *lines*."""
    return [json.loads(line)["index"] for line in lines.splitlines()]


@attrs.define
class Course:
    """What came of all kills."""

    deaths: Counter[str] = attrs.Factory(Counter)
    torn: int = 0
    """Kills after which the last line was a part of one."""
    requests: int = 0
    violations: list[str] = attrs.Factory(list)

    @property
    def kills(self) -> int:
        """How often it was killed, rather than ended."""
        return sum(times for death, times in self.deaths.items() if death.startswith("SIG"))


def kill(kills: int, seed: int, directory: Path, more: tuple[str, ...] = ()) -> Course:
    """Kill a batch *kills* times, then let it end; give what came of it."""
    chance = random.Random(seed)
    output, log, rows = directory / "out.jsonl", directory / "asked", directory / "rows.jsonl"
    messages = [f"row {number} {'x' * chance.randrange(40)}".strip() for number in range(kills * EACH)]
    rows.write_text("".join(f"{json.dumps(message)}\n" for message in messages))
    course = Course()
    with upstream(log) as address:
        arguments = [str(rows), "-o", str(output), "--base-url", address, "-m", "toy", "--max-in-flight", "8", *more]
        while course.kills < kills and not course.violations:
            live(arguments, output, log, course, chance)
        if not course.violations:
            live(arguments, output, log, course, None)
    course.requests = len(log.read_bytes().split())
    check_whole(output, messages, course)
    return course


def live(arguments: list[str], output: Path, log: Path, course: Course, chance: random.Random | None) -> None:
    """Let the batch run, until it is killed by *chance* or, without one, to its end; see what it did and left."""
    before, asked = whole(output), len(log.read_bytes()) if log.exists() else 0
    if chance is None:
        death = end(begin(arguments, None), output, 1 << 40, LONGEST)
        course.violations += [] if death == "0" else [f"the last run ended by {death}"]
    elif chance.random() < 0.5:
        death = end(begin(arguments, len(before) + chance.randrange(1, 5000)), output, 1 << 40, LONGEST)
    elif chance.random() < 0.2:  # while it starts
        death = end(begin(arguments, None), output, 1 << 40, chance.random() * 0.1)
    else:
        death = end(begin(arguments, None), output, len(before) + chance.randrange(EACH * 500), LONGEST)
    if not death.startswith("SIG") and death != "0":
        course.violations.append(f"the batch ended by {death}")
    course.deaths[death] += 1
    after = whole(output)
    course.torn += output.exists() and output.stat().st_size > len(after)
    if not after.startswith(before):
        course.violations.append(f"what stood there is not there any more, after {death}")
    again = {int(each) for each in log.read_bytes()[asked:].split()} & set(numbers(before)) if log.exists() else set()
    if again:
        course.violations.append(f"rows {sorted(again)[:5]} were asked about again, after {death}")


def check_whole(output: Path, messages: list[str], course: Course) -> None:
    """See whether every row is there once, whole, with its own answer."""
    lines = [json.loads(line) for line in whole(output).splitlines()]
    counts = Counter(line["index"] for line in lines)
    missing = [index for index in range(len(messages)) if not counts[index]]
    twice = [index for index, times in counts.items() if times > 1]
    wrong = [line["index"] for line in lines if line["error"] or line["text"] != answer_to(messages[line["index"]])]
    for what, found in (("missing", missing), ("twice there", twice), ("wrong", wrong)):
        course.violations += [f"rows {found[:5]} are {what}"] if found else []


def main() -> int:
    """Run the program and give its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.killed_batch", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="how many times to kill")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--executor", default="threads", help="where the rows run")
    given = parser.parse_args()
    os.environ["PROMPTSTREAM_CONFIG"] = os.devnull
    began = time.monotonic()
    with TemporaryDirectory() as directory:
        course = kill(given.kills, given.seed, Path(directory), ("--executor", given.executor))
    deaths = ", ".join(f"{death} {times}" for death, times in sorted(course.deaths.items()) if death != "0")
    print(
        f"{given.kills * EACH} rows, {course.requests} requests; {deaths}; {course.torn} times a torn line was left",
        *course.violations,
        f"{'FAILED' if course.violations else 'passed'}: {course.kills} kills in {time.monotonic() - began:.1f} s, "
        f"seed {given.seed}, {len(course.violations)} violations",
        sep="\n",
    )
    return 1 if course.violations else 0


if __name__ == "__main__":
    sys.exit(main())
