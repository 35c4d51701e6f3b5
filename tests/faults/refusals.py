"""The faults of a refusal's headers and body, rows 14 to 17: how long to wait, and what stands in the body."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

from dialects import TEXT, Dialect
from faults.core import Fault, Outcome, Scene, Step
from faults.says import good, hold, say, then
from faults.status import BOTH, TWICE, refusal, said
from server import full, head
from wires.base import KEY, dumps

from promptstream import Retry, Timeout
from promptstream.errors import Authentication, ProviderError, RateLimited, ServerError

# 14: how long to wait

HOUR = format_datetime(datetime.now(timezone.utc) + timedelta(hours=1), usegmt=True)
TOO_LONG = {
    "in seconds": ({"Retry_After": "7"}, 7.0),
    "in parts of a second": ({"Retry_After": "7.5"}, 7.5),
    "in milliseconds": ({"retry_after_ms": "7000"}, 7.0),
    "as a date": ({"Retry_After": HOUR}, None),
    "of an hour": ({"Retry_After": "3600"}, 3600.0),
    "of 136 years": ({"Retry_After": "4294967295"}, 4294967295.0),
}
NO_WAIT = {
    "negative": {"Retry_After": "-5"},
    "garbage": {"Retry_After": "soon"},
    "empty": {"Retry_After": ""},
    "not a number": {"Retry_After": "nan"},
    "a date long past": {"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT"},
    "0": {"Retry_After": "0"},
}


def waits(words: str, headers: dict[str, str], seconds: float | None) -> Fault:
    """Make a wait that is longer than the time left."""

    def told(scene: Scene) -> None:
        assert isinstance(scene.error, ProviderError)
        assert scene.error.retry_after is not None
        assert scene.error.retry_after > 5, scene.error.retry_after

    return Fault(
        14,
        f"Retry-After {words}, longer than the time left",
        step=lambda dialect: (say(refusal(dialect, "429", **headers)), good(dialect)),
        retry=TWICE,
        timeout=Timeout(total=5),
        also=told,
        outcome=Outcome(
            RateLimited, text="", status=429, retryable=True, **({} if seconds is None else {"retry_after": seconds})
        ),
    )


def short(name: str, step: Callable[[Dialect], Step], **options: Any) -> Fault:
    """Make a wait of 0.1 s, which is obeyed."""

    def waited(scene: Scene) -> None:
        assert scene.seconds >= 0.1, f"only {scene.seconds:.3f} s"

    return Fault(
        14,
        name,
        step=lambda dialect: (step(dialect), good(dialect)),
        retry=Retry(2, base=0, longest=0),
        limit=0.1,
        also=waited,
        outcome=Outcome(text=TEXT, requests=2),
        **options,
    )


def retry_info(dialect: Dialect) -> Step:
    """Ask for a wait in the body, as Google does."""
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.1s"}]
    return say(full("429 No", dumps(said(dialect, "429", details=details))))


WAITS = (
    *(waits(words, headers, seconds) for words, (headers, seconds) in TOO_LONG.items()),
    *(
        Fault(
            14,
            f"Retry-After that is {words}",
            step=lambda dialect, headers=headers: (say(refusal(dialect, "429", **headers)), good(dialect)),
            retry=TWICE,
            outcome=Outcome(text=TEXT, requests=2),
        )
        for words, headers in NO_WAIT.items()
    ),
    Fault(
        14,
        "Retry-After of an hour, without any limit",
        step=lambda dialect: (say(refusal(dialect, "429", Retry_After="3600")), good(dialect)),
        retry=TWICE,
        outcome=Outcome(RateLimited, text="", status=429, retryable=True, retry_after=3600.0),
    ),
    short("retry-after-ms of 100", lambda dialect: say(refusal(dialect, "503", retry_after_ms="100"))),
    short("Retry-After of 0.1", lambda dialect: say(refusal(dialect, "429", Retry_After="0.1"))),
    short(
        "a wait in the body (RetryInfo)",
        retry_info,
        per={"ollama": "its errors are a text alone"},
    ),
)


# 15 to 17: bodies of errors


def bodied(row: int, name: str, answer: bytes, says: str, **more: Any) -> Fault:
    """Make an error whose body is *answer*, after a status and headers of its own."""
    return Fault(
        row,
        name,
        step=lambda dialect: then(answer, lambda conn: conn.end()),
        modes=BOTH,
        outcome=Outcome(
            **{"error": ServerError, "text": "", "phase": "headers", "retryable": True, "status": 502, **more},
            says=says,
        ),
    )


BAD = "502 Bad Gateway"
DEEP = b"[" * 60_000
BODIES = (
    bodied(15, "an error in HTML", full(BAD, "<html><b>502</b></html>", "text/html"), "text/html"),
    bodied(15, "an error in unnamed HTML", full(BAD, "<!doctype html>no", None), "no explanation"),
    bodied(15, "an error without a body", full(BAD), "application/json, 0 bytes"),
    bodied(15, "an error in no encoding", full(BAD, b"\xff\xfe\x00\x81oops\x1b[31m", "text/plain"), "oops", code=None),
    bodied(15, "an error in plain text", full(BAD, "upstream connect error", "text/plain"), "upstream connect error"),
    bodied(15, "an error of JSON that is cut", full(BAD, '{"error":{"message":"the eng'), "the eng"),
    bodied(15, "an error shorter than its length", full(BAD, "{" + " " * 99)[:-50], "status 502"),
    bodied(15, "an error of wrong types", full(BAD, '{"error":{"message":[1],"code":{},"type":7}}'), "status 502"),
    bodied(15, "an error of null", full(BAD, "null"), "status 502"),
    bodied(15, "an error of a number", full(BAD, "7"), "status 502"),
    bodied(15, "an error of deep JSON", full(BAD, DEEP), "status 502"),
    bodied(15, "an error of a giant number", full(BAD, b'{"error":{"code":' + b"9" * 50_000 + b"}}"), "status 502"),
    bodied(15, "an error in broken gzip", full(BAD, b"\x1f\x8bbroken", Content_Encoding="gzip"), "status 502"),
    bodied(15, "an error in broken chunks", head(BAD, Transfer_Encoding="chunked") + b"zz\r\nno", "status 502"),
    Fault(
        16,
        "an endless error body",
        step=lambda dialect: then(head(BAD, "text/plain"), lambda conn: conn.flood(b"x" * 65536)),
        modes=BOTH,
        secure=True,
        outcome=Outcome(ServerError, text="", phase="headers", status=502, says="xxx"),
    ),
    *(
        Fault(
            16,
            f"an error body that {does}, {words}",
            step=lambda dialect, act=act: then(head(BAD, "text/plain", Content_Length="99") + b"half", act),
            timeout=timeout,
            limit=limit,
            slow=limit > 1,
            outcome=Outcome(ServerError, text="", phase="headers", status=502, says="half"),
        )
        for does, act in (("stalls", hold), ("drips", lambda conn: conn.drip(b"." * 90, 0.04)))
        for words, timeout, limit in (
            ("for as long as it is waited for", Timeout(first=9), 2.0),
            ("for as long as there is time", Timeout(total=0.15), 0.15),
        )
    ),
    *(
        Fault(
            17,
            f"an error of status {status} that shows the key",
            step=lambda dialect, status=status: say(refusal(dialect, status, f"The key {KEY} is wrong.")),
            modes=BOTH,
            outcome=Outcome(kind, text="", status=int(status), says="The key [key] is wrong"),
        )
        for status, kind in (("401", Authentication), ("500", ServerError))
    ),
    Fault(
        17,
        "an error in plain text that shows the key",
        step=lambda dialect: say(full("500 No", f"bad header: Bearer {KEY}\r\n", "text/plain")),
        outcome=Outcome(ServerError, text="", status=500, says="[key]"),
    ),
    Fault(
        17,
        "a request id that shows the key",
        step=lambda dialect: say(full("500 No", "no", "text/plain", x_request_id=KEY, request_id=KEY)),
        outcome=Outcome(ServerError, text="", status=500),
    ),
)

FAULTS = (*WAITS, *BODIES)
