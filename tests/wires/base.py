"""What every protocol's wire has: how it is found, what it can say, a writer of answers and a reader of requests.

A wire is written from the providers' documentation and never from the dialects, so that the two can disagree.
"""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

from wires.script import Answer, Asked, Refusal, Written

import promptstream
from promptstream.client import Provider

KEY = "key-0123456789abcdef"
REQUEST_ID = "req-of-the-contract"


class Rejected(AssertionError):
    """The request is not valid in this protocol."""


def demand(condition: object, why: str) -> None:
    """Reject the request unless *condition* holds."""
    if not condition:
        raise Rejected(why)


class Wire:
    """Speak one protocol from the provider's side."""

    name: ClassVar[str]
    """The provider's registered name."""
    options: ClassVar[dict[str, Any]] = {}
    """What makes the Provider besides its address and key."""
    model: ClassVar[str]
    answering: ClassVar[str]
    """The model that answers, which is not spelt as the one that was asked."""
    root: ClassVar[str] = ""
    """The path of the base URL."""
    url_variable: ClassVar[str] = ""
    key_variable: ClassVar[str] = ""
    stream_type: ClassVar[str] = "text/event-stream"
    key_header: ClassVar[str] = "authorization"
    key_prefix: ClassVar[str] = "Bearer "
    id_header: ClassVar[str | None] = "x-request-id"

    # What the protocol has, or why it lacks it.
    lacks: ClassVar[dict[str, str]] = {}
    """Facts of the contract that cannot be said here, each with the reason."""
    lacking: ClassVar[frozenset[str]] = frozenset()
    """Common parameters that the protocol, or the model above, has no place for."""
    counts_cached: ClassVar[bool] = True
    counts_reasoning: ClassVar[bool] = True
    ids: ClassVar[re.Pattern[str]] = re.compile(r"[a-zA-Z0-9_-]{1,64}")
    """What the ids of calls look like."""
    statuses: ClassVar[dict[str, int]] = {
        "auth": 401,
        "missing": 404,
        "rate": 429,
        "server": 500,
        "overloaded": 503,
        "context": 400,
    }

    def __str__(self) -> str:
        return self.name

    def has(self, fact: str) -> bool:
        """Tell whether the protocol can say *fact*; where not, ``lacks`` holds the reason."""
        return fact not in self.lacks

    def provider(self, url: str, **options: Any) -> Provider:
        """Make the Provider under test, pointed at *url*."""
        given = {"api_key": KEY, "model": self.model, "base_url": url, **self.options, **options}
        return promptstream.providers.get(self.name, **given)

    def environment(self, url: str) -> dict[str, str]:
        """Give the environment variables that point this provider at *url*."""
        pairs = {self.url_variable: url, self.key_variable: KEY}
        return {name: value for name, value in pairs.items() if name}

    several: ClassVar[dict[str, Any]] = {}
    """What in extra= asks for two answers at once, where the protocol can."""
    cost: ClassVar[str | None] = None
    """What every answer costs, where the protocol tells it."""

    def another(self, text: str) -> bytes:
        """Write an event of a second answer beside the first."""
        raise NotImplementedError

    # Requests

    def check_call(self, method: str, path: str, headers: dict[str, str], body: Any) -> Asked:
        """Read a request as the provider would; Rejected where it would say 400."""
        demand(method == "POST", f"the method is {method}")
        demand(headers.get("content-type", "").startswith("application/json"), "the content type is not JSON")
        demand("gzip" not in headers.get("accept-encoding", ""), "a stream may come compressed")
        demand(headers.get(self.key_header) == self.key_prefix + KEY, f"the key is not in {self.key_header}")
        demand(isinstance(body, dict), "the body is no JSON object")
        asked = self.read(body, path)
        demand(path.partition("?")[0] == self.root + self.path(asked), f"the path is {path}")
        return asked

    def check_id(self, call_id: Any) -> None:
        """Reject a call's id that this provider does not take."""
        demand(isinstance(call_id, str) and self.ids.fullmatch(call_id), f"a call's id is {call_id!r:.80}")

    def path(self, asked: Asked) -> str:
        """Give the path of a request, without the root and the query."""
        raise NotImplementedError

    def read(self, body: dict[str, Any], path: str = "") -> Asked:
        """Read a body by the protocol's rules; Rejected where it breaks them."""
        raise NotImplementedError

    # Answers

    def stream(self, answer: Answer) -> Written:
        """Write a streamed answer."""
        raise NotImplementedError

    def whole(self, answer: Answer) -> bytes:
        """Write an answer in one JSON body."""
        raise NotImplementedError

    def said(self, kind: str) -> Any:
        """Give the error object of *kind*, as both a status and a stream carry it."""
        raise NotImplementedError

    def refusal(self, kind: str, *, hint: float | None = None) -> Refusal:
        """Give the HTTP error of *kind*; *hint* asks to wait so many seconds."""
        headers = {self.id_header: REQUEST_ID} if self.id_header else {}
        if hint is not None:
            headers["retry-after"] = f"{hint:g}"
        return Refusal(self.statuses[kind], self.said(kind), headers)

    def finish_word(self, finish: str) -> str | None:
        """Give the raw finish reason that the wire sends for a common one, as the Response is to keep it."""
        raise NotImplementedError

    def headers(self) -> dict[str, str]:
        """Give the headers of a good answer."""
        return {self.id_header: REQUEST_ID} if self.id_header else {}

    def models(self) -> tuple[str, Any]:
        """Give the path and the body of the list of models "alpha" and "beta"."""
        return self.root + "/models", {"object": "list", "data": [{"id": "alpha"}, {"id": "beta"}]}


def dumps(value: Any) -> bytes:
    """Give compact JSON bytes that keep characters as they are, halves of surrogate pairs apart."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def sse(value: Any, event: str | None = None, end: bytes = b"\n") -> bytes:
    """Render one server-sent event."""
    head = b"event: " + event.encode() + end if event else b""
    return head + b"data: " + dumps(value) + end + end


def check_name(name: Any) -> None:
    """Reject a tool's name that no provider takes."""
    demand(isinstance(name, str) and re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name), f"a tool's name is {name!r}")


def parsed_arguments(text: Any) -> dict[str, Any]:
    """Read the JSON text of a call's arguments; Rejected where it is not one object."""
    demand(isinstance(text, str), "arguments are not JSON text")
    try:
        value = json.loads(text)
    except ValueError:
        raise Rejected(f"arguments are not whole JSON: {text!r:.60}") from None
    demand(isinstance(value, dict), f"arguments are no object: {text!r:.60}")
    return value  # type: ignore[no-any-return]


def pictured(url: str) -> tuple[str | None, str | None, str | None]:
    """Take a data URL apart into data and media type, or give the plain URL."""
    if not url.startswith("data:"):
        demand(url.startswith("https://"), f"an image's url is {url!r:.60}")
        return None, None, url
    head, _, data = url.partition(",")
    demand(head.endswith(";base64"), "an image's data URL is not base64")
    return data, head[5:-7], None
