"""Tools that are one HTTP call each: where they may go, what they send, what the model sees."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import nullcontext
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server import Conn, Request, chunked_head, each, full, head, say

from promptstream.errors import Cancelled, ConfigError, DeadlineExceeded, ToolArguments, ToolError
from promptstream.tools.address import Address
from promptstream.tools.context import ToolContext
from promptstream.tools.http import http_tool, http_tools
from promptstream.tools.toolbox import Toolbox
from promptstream.values.message import ToolCall
from promptstream.values.request import ToolSpec
from promptstream.wire.watch import CancelToken, Deadline

KEY = "k3y-0123456789abcdef"
ANY = {"type": "object"}


def answering(value: Any) -> Callable[[Conn], None]:
    """Make a script that answers every call with *value*."""
    return each(say(full("200 OK", json.dumps(value))))


def make(server: Any, path: str = "/", **options: Any) -> Any:
    """Make a tool that calls *server*."""
    return http_tool(
        "look", f"{server.origin}{path}", **{"allow": [f"127.0.0.1:{server.port}"], "parameters": ANY, **options}
    )


def context(**options: Any) -> ToolContext:
    """Make the context of a call."""
    return ToolContext(ToolCall("c1", "look"), **options)


# What is sent


def test_arguments_are_the_json_body_of_a_post(server: Any) -> None:
    """And its answer, as compact JSON, is what the model reads."""
    there = server(answering({"temperature": 21, "city": "Köln"}))
    look = make(there, "/weather", headers={"X-Team": "blue"}, description="Look.")
    assert (look.name, look.description) == ("look", "Look.")
    assert look.run({"city": "Köln"}) == '{"temperature":21,"city":"Köln"}'
    request: Request = there.requests[0]
    assert (request.method, request.target, request.json) == ("POST", "/weather", {"city": "Köln"})
    assert request.headers["x-team"] == "blue"


def test_arguments_are_the_query_of_a_get(server: Any) -> None:
    """Quoted, lists by repetition, nulls left out; a query of the address stays."""
    there = server(answering([]))
    look = make(there, "/find?v=1", method="get")
    look.run({"q": "a b&c=d#e", "tags": ["x", "y"], "exact": True, "none": None, "deep": {"a": 1}})
    assert there.requests[0].method == "GET"
    assert there.requests[0].target == "/find?v=1&q=a+b%26c%3Dd%23e&tags=x&tags=y&exact=true&deep=%7B%22a%22%3A+1%7D"
    assert there.requests[0].body == b""


def test_placeholders_are_filled_and_need_no_schema(server: Any) -> None:
    """What stands in the address is sent there alone."""
    there = server(answering({}))
    look = make(there, "/users/{user}/orders?year={year}", parameters=None)
    assert look.parameters["required"] == ["user", "year"]
    look.run({"user": "a/b c", "year": "2024&admin=1"})
    assert there.requests[0].target == "/users/a%2Fb%20c/orders?year=2024%26admin%3D1"
    assert there.requests[0].json == {}


@pytest.mark.parametrize("value", ["..", ".", "", "../admin", "a/../b", "..\\b", None, [], {}])
def test_an_argument_cannot_leave_its_place_in_the_path(server: Any, value: Any) -> None:
    """Nothing is sent where one tries."""
    there = server(answering({}))
    with pytest.raises(ToolArguments):
        make(there, "/users/{user}/orders", parameters={"properties": {"user": {}}}).run({"user": value})
    assert there.requests == []


@given(st.text(max_size=20))
def test_whatever_an_argument_is_host_and_path_stay_the_same(value: str) -> None:
    """It fills one segment, and nothing else."""
    address = Address.of("look", "https://api.example.com/v1/{a}/end?x={a}", ["api.example.com"])
    try:
        url, rest = address.fill({"a": value, "b": 1}, query=False)
    except ToolArguments:
        return
    assert url.startswith("https://api.example.com/v1/")
    path, _, query = url.removeprefix("https://api.example.com").partition("?")
    assert (path.count("/"), path.rpartition("/")[2], rest) == (3, "end", {"b": 1})
    assert not {"&", "#", "?"} & set(query.removeprefix("x="))


def test_a_function_may_make_the_request_and_read_the_answer(server: Any) -> None:
    """Between what the model says and what the service wants."""
    there = server(answering({"data": {"items": [{"name": "Ada", "age": 36}]}}))
    look = make(
        there,
        "/people/{team}",
        parameters={"properties": {"team": {}, "full_name": {}}},
        request=lambda given: {"first": given["full_name"].split()[0]},
        result=lambda answer: [each["name"] for each in answer["data"]["items"]],
    )
    assert look.run({"team": "blue", "full_name": "Ada Lovelace"}) == '["Ada"]'
    assert (there.requests[0].target, there.requests[0].json) == ("/people/blue", {"first": "Ada"})


# What is seen


@pytest.mark.parametrize(
    ("path", "seen"),
    [("data.items.0.name", "Ada"), ("data.items[1].tags", "[1,2]"), ("", None), ("data.none", ToolError)],
)
def test_a_path_chooses_a_part_of_the_answer(server: Any, path: str, seen: Any) -> None:
    """Names and numbers, by dots or in brackets."""
    answer = {"data": {"items": [{"name": "Ada"}, {"tags": [1, 2]}]}}
    look = make(server(answering(answer)), result=path)
    if seen is ToolError:
        with pytest.raises(ToolError, match=r"holds no 'data\.none'"):
            look.run({})
    else:
        assert look.run({}) == (seen or json.dumps(answer, separators=(",", ":")))


def test_redacted_fields_are_dropped_wherever_they_stand(server: Any) -> None:
    """Also from the body of an error; and where an answer cannot be read, none of it is shown."""
    answer = {"name": "Ada", "ssn": "1", "cards": [{"ssn": "2", "last": 4}]}
    there = server(
        each(
            say(full("200 OK", json.dumps(answer))),
            say(full("400 Bad Request", json.dumps(answer))),
            say(full("200 OK", "ssn=1", "text/plain")),
            say(full("500 Oops", "ssn=1", "text/plain")),
        )
    )
    look = make(there, redact=["ssn"])
    assert look.run({}) == '{"name":"Ada","cards":[{"last":4}]}'
    said = []
    for _ in range(3):
        with pytest.raises(ToolError) as caught:
            look.run({})
        said.append(str(caught.value))
    assert said == [
        'HTTP 400: {"name": "Ada", "cards": [{"last": 4}]}',
        "The answer of look is not JSON, and cannot be read.",
        "HTTP 500",
    ]


def test_text_that_is_no_json_is_given_as_it_is(server: Any) -> None:
    """And an empty answer says that it is one."""
    there = server(each(say(full("200 OK", "Sunny.", "text/plain")), say(full("204 No Content", b"", None))))
    look = make(there)
    assert look.run({}) == "Sunny."
    assert look.run({}) == "HTTP 204: no content."


def test_an_error_is_told_with_the_beginning_of_its_body(server: Any) -> None:
    """500 bytes of it, cut between two characters."""
    there = server(each(say(full("404 Not Found", "ä" * 1000, "text/plain"))))
    with pytest.raises(ToolError) as caught:
        make(there).run({})
    assert str(caught.value) == "HTTP 404: " + "ä" * 250


def test_a_redirect_is_never_followed(server: Any) -> None:
    """An allowed host cannot pass the call, with its key, on to another."""
    other = server(answering({}))
    there = server(each(say(full("302 Found", b"", None, Location=f"{other.origin}/"))))
    with pytest.raises(ToolError, match="HTTP 302: look redirects"):
        make(there).run({})
    assert other.requests == []


def test_a_body_is_read_up_to_a_mebibyte(server: Any) -> None:
    """What sends more is hung up on."""

    def flood(conn: Conn, request: Request) -> None:
        conn.send(head())
        conn.flood(b"x" * 65536)

    there = server(each(flood))
    with pytest.raises(ToolError, match="larger than 1 MiB"):
        make(there).run({})


def test_a_cut_answer_is_an_error(server: Any) -> None:
    """Half a JSON object is none."""

    def cut(conn: Conn, request: Request) -> None:
        conn.send(chunked_head(), b'5\r\n{"a":\r\n')
        conn.close()

    with pytest.raises(ToolError, match="look got no answer"):
        make(server(each(cut))).run({})


# Keys


def test_a_key_comes_from_the_environment_and_never_shows(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the result, an error, or the repr of anything; the service gets it."""
    monkeypatch.setenv("SHOP_KEY", KEY)
    echo = json.dumps({"you": f"sent {KEY}"})
    there = server(each(say(full("200 OK", echo)), say(full("401 No", f"bad key {KEY}", "text/plain"))))
    look = make(there, headers_from_env={"Authorization": "Bearer SHOP_KEY", "X-Key": "SHOP_KEY"})
    assert look.run({}) == '{"you":"sent [key]"}'
    assert there.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert there.requests[0].headers["x-key"] == KEY
    with pytest.raises(ToolError) as caught:
        look.run({})
    assert str(caught.value) == "HTTP 401: bad key [key]"
    assert KEY not in repr(look.function) + repr(look) + repr(vars(look))


def test_a_key_among_the_headers_or_in_the_query_is_scrubbed_too(server: Any) -> None:
    """Wherever the application put it."""
    there = server(answering([KEY, "other-" + KEY[::-1]]))
    look = make(there, f"/?api_key={KEY}", headers={"X-Api-Key": "other-" + KEY[::-1]})
    assert look.run({}) == '["[key]","[key]"]'


def test_a_key_that_is_not_set_is_missed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when the model calls."""
    monkeypatch.delenv("SHOP_KEY", raising=False)
    with pytest.raises(ConfigError, match="needs the environment variable 'SHOP_KEY' for X-Key"):
        http_tool("look", "https://a.example/", allow=["a.example"], headers_from_env={"X-Key": "SHOP_KEY"})


# Where it may go


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("https://api.example.com/x", ["api.example.com"]),
        ("https://API.example.com/x", ["api.EXAMPLE.com"]),
        ("https://api.example.com/x", ["api.example.com:443"]),
        ("https://api.example.com:8443/x", ["api.example.com:8443"]),
        ("https://api.example.com/x", ["other.example", "https://api.example.com"]),
        ("http://127.0.0.1:8080/x", ["127.0.0.1:8080"]),
        ("http://localhost/x", ["http://localhost"]),
        ("http://[::1]:8080/x", ["[::1]:8080"]),
        ("http://127.0.0.1:/", ["127.0.0.1"]),
    ],
)
def test_a_host_that_is_allowed_may_be_called(url: str, allow: list[str]) -> None:
    """By its name, with or without a port, or its origin."""
    assert http_tool("look", url, allow=allow).name == "look"


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("https://api.example.com/x", []),
        ("https://api.example.com/x", ["example.com"]),
        ("https://example.com/x", ["api.example.com"]),
        ("https://api.example.com.evil.example/x", ["api.example.com"]),
        ("https://api.example.com:8443/x", ["api.example.com"]),
        ("https://api.example.com/x", ["http://api.example.com"]),
        ("https://10.0.0.1/x", ["api.example.com"]),
        ("http://127.0.0.1:8080/x", ["127.0.0.1"]),
        ("http://169.254.169.254/x", ["169.254.169.254"]),
        ("http://api.example.com/x", ["api.example.com"]),
        ("https://api.example.com@evil.example/x", ["api.example.com"]),
        ("https://user:pw@api.example.com/x", ["api.example.com"]),
        ("https://{host}/x", ["{host}", "a"]),
        ("https://api.example.com{x}/", ["api.example.com"]),
        ("https://api.example.com\\@evil.example/", ["api.example.com"]),
        ("ftp://api.example.com/x", ["api.example.com"]),
        ("file:///etc/passwd", [""]),
        ("//api.example.com/x", ["api.example.com"]),
        ("https://api.example.com:99999/x", ["api.example.com"]),
        ("", ["api.example.com"]),
        ("https://api.example.com/x", ["*.example.com"]),
        ("https://api.example.com/x", ["*"]),
        ("https://api.example.com/x", ["api.example.com", "*"]),
        ("https://api.example.com/x\r\nX-Other: 1", ["api.example.com"]),
        ("https://api.exa\nmple.com/x", ["api.example.com"]),
        ("https://api.example.com/x\ty", ["api.example.com"]),
        ("https://api.example.com/x\0", ["api.example.com"]),
        ("https://api.example.com/x", ["api.example.com/x"]),
    ],
)
def test_any_other_address_is_refused_at_once(url: str, allow: list[str]) -> None:
    """Hosts are compared exactly; only loopback goes without encryption; arguments never stand in the host."""
    with pytest.raises(ConfigError):
        http_tool("look", url, allow=allow)


def test_the_refusal_names_the_host_and_what_to_write() -> None:
    """So that it can be pasted, and shows no key of the query."""
    with pytest.raises(ConfigError) as caught:
        http_tool("look", f"https://api.example.com:8443/x?key={KEY}", allow=[])
    assert "api.example.com:8443, which is not allowed; write allow=['api.example.com:8443']" in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://127.0.0.1:/", "127.0.0.1"),
        ("http://[::1]:8080/", "[::1]:8080"),
        ("https://API.example.com:443/", "api.example.com"),
        ("http://localhost:443/", "localhost:443"),
    ],
)
def test_what_a_refusal_says_to_write_is_right(url: str, advice: str) -> None:
    """Whoever follows it is not refused again."""
    with pytest.raises(ConfigError) as caught:
        http_tool("look", url, allow=["other.example"])
    assert str(caught.value).endswith(f"calls {advice}, which is not allowed; write allow=['{advice}'].")
    assert http_tool("look", url, allow=[advice]).name == "look"


def test_a_wildcard_is_refused_with_what_to_write() -> None:
    """A pack would reach any host."""
    with pytest.raises(ConfigError, match=r"allow='\*': wildcards are not understood; name each host"):
        http_tool("look", "https://a.example/", allow=["*"])


@pytest.mark.parametrize("value", ["a\r\nX-Other: 1", "a\n", "€5", " a", "\0", "\x7f"])
def test_a_header_that_http_cannot_carry_is_refused_when_the_tool_is_made(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when a model first calls; the value, which may be a key, is not shown."""
    place: dict[str, Any] = {"url": "https://a.example/", "allow": ["a.example"]}
    said = r"^HTTP tool 'look': the value of the header 'X-Key' has characters that HTTP does not allow \("
    with pytest.raises(ConfigError, match=said):
        http_tool("look", **place, headers={"X-Key": value})
    if "\0" not in value:
        monkeypatch.setenv("SHOP_KEY", f"k{value}k")
        with pytest.raises(ConfigError, match=said) if value != " a" else nullcontext():
            http_tool("look", **place, headers_from_env={"X-Key": "SHOP_KEY"})


@pytest.mark.parametrize("headers", [{"X-Team": 1}, {1: "a"}, [("X-Team", "a")], {"X-Team": b"a"}])
def test_headers_are_a_dict_of_strings(headers: Any) -> None:
    """A number would be refused in the middle of a turn."""
    for option in ("headers", "headers_from_env"):
        with pytest.raises(TypeError, match="give headers as a dict of strings"):
            http_tool("look", "https://a.example/", allow=["a.example"], **{option: headers})


@pytest.mark.parametrize(
    "options",
    [
        {"method": "CONNECT"},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"headers": {"Host": "evil.example"}},
        {"headers": {"a b": "c"}},
        {"parameters": {"type": "object", "properties": {"other": {}}}, "url": "https://a.example/{city}"},
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(options: dict[str, Any]) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigError):
        http_tool(**{"name": "look", "url": "https://a.example/", "allow": ["a.example"], **options})


@pytest.mark.parametrize("option", ["allow", "redact"])
def test_a_string_is_no_list(option: str) -> None:
    """Its letters would be the names."""
    with pytest.raises(TypeError, match=option):
        http_tool(**{"name": "look", "url": "https://a.example/", "allow": ["a.example"], option: "a.example"})


# How long it may take


def test_a_cancelled_turn_ends_the_call_at_once(server: Any) -> None:
    """Within 100 ms, the fastest of three; the service sees the hang-up."""

    def hold(conn: Conn, request: Request) -> None:
        conn.wait_for_hang_up()

    there = server(each(hold))
    look, took = make(there), []
    for _ in range(3):
        token = CancelToken()
        cancelled: list[float] = []

        def cancel(token: CancelToken = token, cancelled: list[float] = cancelled) -> None:
            there.wait_for_request()
            cancelled.append(monotonic())
            token.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(Cancelled):
            look.run({}, context(cancel=token))
        took.append(monotonic() - cancelled[0])
        thread.join()
    assert min(took) < 0.1


def test_nothing_is_sent_for_a_turn_that_is_over(server: Any) -> None:
    """Cancelled, or out of time."""
    there = server(answering({}))
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        make(there).run({}, context(cancel=token))
    with pytest.raises(DeadlineExceeded):
        make(there).run({}, context(deadline=Deadline(0.0)))
    assert there.connections == []


@pytest.mark.parametrize(("options", "raised"), [({"timeout": 0.05}, ToolError), ({}, DeadlineExceeded)])
def test_a_call_ends_with_its_own_time_or_that_of_the_turn(server: Any, options: dict[str, Any], raised: Any) -> None:
    """Its own is a result for the model, the turn's ends the turn; a dripping body counts."""

    def drip(conn: Conn, request: Request) -> None:
        conn.send(head())
        conn.drip(b"x" * 1000)

    left = Deadline(10 if options else 0.05)
    began = monotonic()
    with pytest.raises(raised) as caught:
        make(server(each(drip)), **options).run({}, context(deadline=left))
    assert monotonic() - began < 5
    if options:
        assert str(caught.value) == "look got no answer: nothing came within 0.05 s."


def test_a_service_that_is_not_there_is_told_to_the_model() -> None:
    """As a result, not as an exception that ends the turn."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    look = http_tool("look", f"http://127.0.0.1:{port}/", allow=[f"127.0.0.1:{port}"])
    with pytest.raises(ToolError, match="look got no answer"):
        look.run({})


def test_many_calls_at_once_do_not_mix(server: Any) -> None:
    """Each has its own connection, closed after it."""

    def echo(conn: Conn, request: Request) -> None:
        conn.send(full("200 OK", request.body))

    there = server(each(echo))
    look, said = make(there), {}

    def call(number: int) -> None:
        said[number] = look.run({"n": number})

    threads = [threading.Thread(target=call, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {number: f'{{"n":{number}}}' for number in range(16)}
    assert all(conn.gone.wait(5) for conn in there.connections)


def test_tls_is_checked_and_an_authority_of_ones_own_can_be_named(tls_server: Any, certificates: Any) -> None:
    """``verify=`` as everywhere."""
    there = tls_server(answering({"a": 1}))
    assert make(there, verify=certificates.bundle).run({}) == '{"a":1}'
    with pytest.raises(ToolError, match="look got no answer"):
        make(there).run({})


# Those of a pack


def pack(**http: Any) -> dict[str, Any]:
    """Write a pack of one HTTP tool and one other."""
    parameters = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    return {
        "tools": {
            "look": {"name": "look", "description": "Look.", "parameters": parameters, "http": http},
            "other": {"name": "other", "description": "No HTTP."},
        }
    }


def test_the_http_tools_of_a_pack_are_made_and_bound_by_name(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its description and schema; a variable that the application allows is sent."""
    monkeypatch.setenv("SHOP_KEY", KEY)
    there = server(answering({"data": {"name": "Ada", "ssn": 1}}))
    written = pack(
        url=f"{there.origin}/users/{{id}}",
        method="GET",
        headers={"X-Team": "blue"},
        headers_from_env=["Authorization=Bearer SHOP_KEY"],
        timeout_ms=5000,
        redact=["ssn"],
        result="data",
    )
    (look,) = http_tools(written, allow=[there.origin], env=["SHOP_KEY"], approval=["look"])
    assert (look.name, look.description, look.approval) == ("look", "Look.", True)
    spec = ToolSpec("look", "Look.", written["tools"]["look"]["parameters"])
    found = Toolbox([look], declared={"look": spec}).find("look")
    assert found is not None
    assert found.run({"id": "7"}) == '{"name":"Ada"}'
    assert there.requests[0].target == "/users/7"
    assert there.requests[0].headers["authorization"] == f"Bearer {KEY}"
    with pytest.raises(ToolArguments, match="'id' is missing"):
        found.run({})


def test_a_pack_reaches_no_host_that_the_application_did_not_name() -> None:
    """A pack is a file, perhaps of someone else's."""
    with pytest.raises(ConfigError, match=r"evil\.example.*allow="):
        http_tools(pack(url="https://evil.example/{id}"), allow=["api.example.com"])


def test_a_pack_reads_no_variable_that_the_application_did_not_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it could send any key to its own host."""
    monkeypatch.setenv("OTHER_KEY", KEY)
    written = pack(url="https://api.example.com/", headers_from_env={"X-Key": "OTHER_KEY"})
    with pytest.raises(ConfigError, match=r"env=\['OTHER_KEY'\]") as caught:
        http_tools(written, allow=["api.example.com"], env=["SHOP_KEY"])
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("http", "said"),
    [
        ({}, "no object with a url"),
        ({"url": 5}, "no object with a url"),
        ({"url": "https://a.example/", "metod": "GET"}, "metod is not understood. Did you mean 'method'"),
        ({"url": "https://a.example/", "headers": {"a": 1}}, "headers is no object of strings"),
        ({"url": "https://a.example/", "headers_from_env": ["X"]}, "headers_from_env is no object"),
        ({"url": "https://a.example/", "timeout_ms": "5"}, "timeout_ms is no number"),
        ({"url": "https://a.example/", "redact": "ssn"}, "redact is no list"),
        ({"url": "https://a.example/", "result": 5}, "result is no path"),
        ({"url": "https://a.example/{city}"}, "'look': {city} in its url is no argument"),
    ],
)
def test_a_section_that_cannot_be_understood_is_refused_with_its_place(http: dict[str, Any], said: str) -> None:
    """And not half obeyed."""
    with pytest.raises(ConfigError) as caught:
        http_tools(pack(**http), allow=["a.example"])
    assert said in str(caught.value)


def test_what_is_said_of_a_tool_that_the_pack_does_not_have_is_refused() -> None:
    """A slip in a name would else leave a tool without its approval."""
    with pytest.raises(ConfigError, match=r"approval=.*'loook'.*Did you mean 'look'"):
        http_tools(pack(url="https://a.example/"), allow=["a.example"], approval=["loook"])
    with pytest.raises(TypeError, match="approval="):
        http_tools(pack(url="https://a.example/"), allow=["a.example"], approval="look")
