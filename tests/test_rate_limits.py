"""What providers tell of their rate limits in headers, and where it is found."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping

import pytest
from dialects import DIALECTS, Dialect
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict
from server import Server, each, full, head, say

import promptstream
from promptstream import RateLimits, Response, errors
from promptstream.providers.failures import http_error
from promptstream.providers.rate_headers import rate_limits
from promptstream.values.chunk import Finish
from promptstream.values.secret import Secret

DATE = {"Date": "Thu, 03 Jul 2025 18:18:00 GMT"}
OPENAI = {
    "x-ratelimit-limit-requests": "5000",
    "x-ratelimit-remaining-requests": "4999",
    "x-ratelimit-reset-requests": "12ms",
    "x-ratelimit-limit-tokens": "160000",
    "x-ratelimit-remaining-tokens": "159970",
    "x-ratelimit-reset-tokens": "6m0s",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "4000",
    "anthropic-ratelimit-requests-remaining": "3999",
    "anthropic-ratelimit-requests-reset": "2025-07-03T18:18:12Z",
    "anthropic-ratelimit-tokens-limit": "480000",
    "anthropic-ratelimit-tokens-remaining": "479000",
    "anthropic-ratelimit-tokens-reset": "2025-07-03T18:18:16+00:00",
}


def read(*headers: Mapping[str, str], **more: str) -> tuple[object, ...] | None:
    """Give what is read of all these headers: requests, those left and their reset, tokens likewise."""
    given = CaseInsensitiveDict({name: value for part in (*headers, more) for name, value in part.items()})
    told = rate_limits(given)
    return None if told is None else tuple(told.to_dict().values())[:6]


def test_openais_headers_are_read():
    """Counts, and lengths of time as Go writes them."""
    assert read(OPENAI) == (5000, 4999, 0.012, 160_000, 159_970, 360.0)


def test_anthropics_headers_are_read():
    """Its resets are dates; by the server's own clock, not by this machine's."""
    assert read(DATE, ANTHROPIC) == (4000, 3999, 12.0, 480_000, 479_000, 16.0)


@pytest.mark.parametrize(
    ("left", "reset", "scarcest"),
    [
        (("400000", "80000"), "2025-07-03T18:18:20Z", (480_000, 479_000, 16.0)),
        (("400000", "20000"), "2025-07-03T18:18:20Z", (80_000, 20_000, 20.0)),
        (("0", "20000"), "2025-07-03T18:17:00Z", (400_000, 0, 0.0)),
    ],
)
def test_of_anthropics_limits_on_tokens_the_scarcest_is_told(left, reset, scarcest):
    """Prompts and answers have limits of their own; the one of which the smallest part is left counts."""
    kinds = zip(("input", "output"), ("400000", "80000"), left, strict=True)
    apart = {
        f"anthropic-ratelimit-{kind}-tokens-{field}": value
        for kind, limit, remaining in kinds
        for field, value in (("limit", limit), ("remaining", remaining), ("reset", reset))
    }
    assert read(DATE, ANTHROPIC, apart) == (4000, 3999, 12.0, *scarcest)


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1751566710000"}, (20, 0, 30)),
        ({"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "1751566690"}, (20, 1, 10)),
        ({"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "9.5"}, (20, 1, 9.5)),
        ({"RateLimit-Limit": "100, 100;w=60", "RateLimit-Remaining": "50", "RateLimit-Reset": "5"}, (100, 50, 5)),
        ({"RateLimit": "limit=100, remaining=50, reset=5"}, (100, 50, 5)),
        ({"RateLimit": '"minute";r=50;t=30', "RateLimit-Policy": '"minute";q=100;w=60'}, (100, 50, 30)),
        ({"RateLimit": '"a";r=50;t=30, "b";r=3;t=9', "RateLimit-Policy": '"a";q=100,"b";q=50'}, (50, 3, 9)),
        (
            {"RateLimit": '"a";r=50;t=30, "b";r=3;t=9', "RateLimit-Policy": '"b";q=50;qu="content-bytes"'},
            (None, 50, 30),
        ),
        ({"x-ratelimit-limit-req-minute": "60", "x-ratelimit-remaining-req-minute": "9"}, (60, 9, None)),
        ({"x-ratelimit-remaining-requests": "9"}, (None, 9, None)),
    ],
)
def test_other_servers_headers_are_read(headers, told):
    """OpenRouter's milliseconds, gateways' seconds, and each form of the IETF's draft."""
    assert read(DATE, headers) == (*told, None, None, None)


def test_the_number_of_a_limit_is_read_of_any_headers():
    """A mapping that minds capitals, as a dict does; without a Date the clock is this machine's."""
    told = rate_limits({"X-RateLimit-Remaining-Tokens": "7", "X-RateLimit-Reset-Tokens": "2001-01-01T00:00:00Z"})
    assert told == RateLimits(tokens_left=7, tokens_reset=0.0)


@pytest.mark.parametrize(
    "value", ["", "x", "nan", "inf", "1e999", "-", "T", "9" * 5000, "2025-99-99T00:00:00Z", "; ,="]
)
def test_what_cannot_be_read_is_not_told(value):
    """As if the header were not there."""
    assert read(DATE, dict.fromkeys(OPENAI, value)) is None
    assert read(DATE, {"X-RateLimit-Reset": value}) is None
    assert read(OPENAI, {"x-ratelimit-reset-tokens": value, "RateLimit": value, "RateLimit-Policy": value}) == (
        *(5000, 4999, 0.012),
        *(160_000, 159_970, None),
    )


@given(st.dictionaries(st.sampled_from([*OPENAI, *ANTHROPIC, "ratelimit", "ratelimit-policy", "date"]), st.text()))
def test_no_header_breaks_anything(headers):
    """Whatever a server says, nothing is raised."""
    rate_limits(CaseInsensitiveDict(headers))


def test_no_header_no_limits():
    """Most responses tell nothing."""
    assert read(DATE, {"Content-Type": "text/event-stream"}) is None


def test_every_recorded_header_is_read(conformance_data):
    """Of those of real answers no value that names a limit is passed over."""
    seen = 0
    for path in sorted((conformance_data / "recordings").rglob("*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        kept = kept.get("response", kept) if isinstance(kept, dict) else {}
        headers = kept.get("headers") or {}
        names = {name.lower() for name in headers if "ratelimit" in name.lower()}
        known = {name for name in names if not name.endswith(("images", "_usage_based"))}
        if known:
            told = rate_limits(CaseInsensitiveDict(headers))
            assert told is not None, path.name
            values = list(told.to_dict().values())[:6]
            for kind, found in (("requests", values[:3]), ("tokens", values[3:])):
                assert (found != [None] * 3) is any(kind in name for name in known), path.name
            seen += 1
    assert seen > 20


# Where it is found


def loopback(text: Mapping[str, str]) -> dict[str, str]:
    """Give headers as the loopback server takes them."""
    return {name.replace("-", "_"): value for name, value in text.items()}


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)
def test_an_answer_has_the_limits_of_its_response(dialect: Dialect):
    """In every dialect, streamed and whole, and while it streams."""
    body = dialect.written().body
    streamed = head(content_type=dialect.wire.stream_type, Content_Length=str(len(body)), **loopback(OPENAI)) + body
    whole = full("200 OK", dialect.whole(), **loopback(OPENAI))
    told = RateLimits(5000, 4999, 0.012, 160_000, 159_970, 360.0)
    with (
        Server(each(say(streamed), say(whole))) as server,
        dialect.provider(server.url.removesuffix("/v1")) as provider,
    ):
        stream = dialect.stream(provider)
        next(iter(stream))
        assert stream.response.rate_limits == told
        response = dialect.send(provider, streaming=False)
    assert response.rate_limits == told
    assert pickle.loads(pickle.dumps(response)).rate_limits == told
    assert Response.from_dict(json.loads(json.dumps(response.to_dict()))) == response


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)
def test_a_refusal_has_the_limits_of_its_response(dialect: Dialect):
    """In every dialect; and the error pickles whole."""
    refused = dialect.refusal("rate", **loopback(DATE | ANTHROPIC))
    with (
        Server(each(say(refused))) as server,
        dialect.provider(server.url.removesuffix("/v1")) as provider,
        pytest.raises(errors.RateLimited) as caught,
    ):
        dialect.send(provider)
    told = RateLimits(4000, 3999, 12.0, 480_000, 479_000, 16.0)
    assert caught.value.rate_limits == told
    assert pickle.loads(pickle.dumps(caught.value)).rate_limits == told


def test_a_refusal_that_tells_nothing_has_none():
    """Neither has an error that is no provider's refusal."""
    assert http_error("vendor", Secret("sk-0123456789abcdef"), 429, {}, b"").rate_limits is None
    assert errors.RateLimited("Slow down.").rate_limits is None


def test_the_last_request_of_a_turn_is_the_one_that_counts():
    """A round that tells nothing takes nothing back; another provider does."""
    first, second = RateLimits(requests_left=9), RateLimits(requests_left=8)

    def response(*told: Finish) -> Response:
        script = [*told, "Hi", Finish(reason="stop")]
        return promptstream.providers.Scripted([script]).send("Hi")

    assert response(Finish(rate_limits=first), Finish(rate_limits=second), Finish()).rate_limits == second
    moved = Finish(restart=True, provider="other", model="m")
    assert response(Finish(rate_limits=first), moved).rate_limits is None
    assert response().rate_limits is None


def test_an_answer_kept_before_there_were_limits_is_read():
    """A dict of an earlier version has no such key."""
    kept = Response(text="Hi", rate_limits=RateLimits(1, 2, 3.0)).to_dict()
    assert Response.from_dict(kept).rate_limits == RateLimits(1, 2, 3.0)
    del kept["rate_limits"]
    assert Response.from_dict(kept) == Response(text="Hi")
