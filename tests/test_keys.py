"""What knows a key does not show it: objects, secrets, errors of set-up, processes; and none leaves in clear text."""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from canary import API_KEY, CANARIES, assert_hidden, leak, made, proxied, shown_by, state
from dialects import DIALECTS
from echoes import as_a_status_line, in_a_stream, in_every_field, quoting
from faults.says import streamed
from server import each, full

import promptstream
from promptstream import errors, providers
from promptstream.client import Provider
from promptstream.values.secret import Address, Secret, bare_address, names_secret
from promptstream.wire.transport import Transport

ROOT = Path(__file__).parents[1]

# Objects


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)
def test_objects_show_no_key(server, dialect):
    """Provider, dialect, transport, call, stream, turn, watch, response: in repr, str, attributes and pickles."""
    one = server(each(lambda conn, request: conn.send(streamed(dialect, *dialect.events()))))
    provider = made(dialect, one.origin, proxies={"https": proxied(1)})
    stream = dialect.stream(provider)
    response = stream.result()
    asked = promptstream.values.request.ChatRequest((promptstream.Message("user", "x"),), model="m")
    call = provider.dialect.encode(asked)
    for thing in (provider, provider.dialect, provider._transport, call, asked, stream, stream._turn, response):
        assert_hidden(state(thing))
    request = one.requests[0]
    assert CANARIES["query"] in request.target
    assert API_KEY in request.headers[dialect.wire.key_header]


def test_a_conversation_shows_no_key(server):
    """Nor do its provider, its history and a copy of them."""
    one = server(each(lambda conn, request: conn.answer()))
    with promptstream.chat("Be brief.", base_url=f"{one.url}?key={CANARIES['query']}", api_key=API_KEY) as conv:
        response = conv.send("Hi")
        for thing in (conv, conv.provider, copy.copy(conv.provider), response, *conv.messages):
            assert_hidden(state(thing))
        assert leak(json.dumps(response.to_dict())) is None
    assert one.requests[0].headers["authorization"] == f"Bearer {API_KEY}"


def test_a_copied_dialect_still_knows_its_key():
    """Copies hold the key; a pickle, which leaves the process, does not."""
    dialect = made(DIALECTS["chat"], "http://127.0.0.1:1").dialect
    for made_of_it in (copy.copy(dialect), copy.deepcopy(dialect)):
        assert made_of_it.secret == API_KEY
        assert made_of_it._headers["Authorization"].encode() == f"Bearer {API_KEY}".encode()
    assert leak(pickle.dumps(dialect).decode("latin-1")) is None
    assert pickle.loads(pickle.dumps(dialect)).secret.scrub("still a secret") == "still a secret"


def test_what_is_made_by_hand_shows_no_password():
    """A transport and a provider that providers.get did not make."""
    proxies = {"http": proxied(1)}
    assert_hidden(state(Transport(proxies=proxies)))
    assert_hidden(state(Provider(made(DIALECTS["chat"], "http://127.0.0.1:1").dialect, proxies=proxies)))


# Secrets themselves


@pytest.mark.parametrize("long", [False, True])
def test_a_secret_that_is_cut_for_print_is_hidden_still(long):
    """Tools that shorten what they print take a slice of it first."""
    secret = Secret(API_KEY * (9 if long else 1))
    assert leak(f"{secret[:40]} {secret[:40]!r} {secret[2:]!r} {secret[0]!r}") is None
    from rich.pretty import pretty_repr

    assert leak(pretty_repr({"a": [secret]}, max_string=20)) is None


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        (f"Key {API_KEY}.", "Key [key]."),
        (f"Key {API_KEY[:8]}***{API_KEY[-4:]}.", f"Key {API_KEY[:8]}***{API_KEY[-4:]}."),
        (f"Key {API_KEY[:9]}***", "Key [key]***"),
        (f"{API_KEY}{API_KEY}", "[key]"),
        (f"{API_KEY} {API_KEY}", "[key] [key]"),
        (f"…{API_KEY[5:15]}…", "…[key]…"),
        ("pass hunter2!", "pass [key]"),
        ("pass hunter2!!", "pass [key]!"),
        ("xhunter2!", "xhunter2!"),
        ("100 % sure, a\\b & c &amp; %zz \\u12", "100 % sure, a\\b & c &amp; %zz \\u12"),
        ("\u0130stanbul 😀 " + API_KEY, "\u0130stanbul 😀 [key]"),
        ("", ""),
    ],
)
def test_what_is_scrubbed_and_what_stays(text, scrubbed):
    """More than 8 characters in a row are taken out, a short password as a whole; everything else stays as it was."""
    secret = Secret(API_KEY, also=["hunter2!", "abc", ""])
    assert secret.scrub(text) == scrubbed
    assert secret.found_in(text) == (text != scrubbed)


@pytest.mark.parametrize("ahead", range(4))
@pytest.mark.parametrize("behind", range(4))
def test_base64_around_a_key_is_scrubbed_however_it_is_aligned(ahead, behind):
    """At most the characters that hold bits of the neighbours stay."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(b"u" * ahead + API_KEY.encode() + b"z" * behind).decode()
        scrubbed = Secret(API_KEY).scrub(whole)
        assert "[key]" in scrubbed
        assert leak(scrubbed) is None
        assert len(scrubbed) <= 18


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *(
            (name, True)
            for name in ("Authorization", "x-api-key", "API-API_KEY", "x-goog-api-key", "X-ApiKey", "Cookie")
        ),
        *((name, True) for name in ("x-custom-token", "access_token", "subscription-key", "sig", "code", "X-Auth")),
        *((name, False) for name in ("anthropic-beta", "X-Author", "max_tokens", "api-version", "X-Title", "Accept")),
        *((name, False) for name in ("OpenAI-Organization", "Idempotency-Key", "HTTP-Referer", "X-Country-Code")),
    ],
)
def test_names_tell_what_holds_a_key(name, secret):
    """Of headers and of parameters in an address."""
    assert names_secret(name) is secret


def test_an_address_shows_neither_password_nor_query():
    """Also one that is none."""
    assert bare_address("http://me:hunter2@[bad/v1?key=1#2") == "http://[key]@[bad/v1?[key]"
    assert bare_address("me:hunter2@gpu.example:1") == "[key]@gpu.example:1"
    assert bare_address("ftp://u:sec/ret@h/v1") == "ftp://[key]@h/v1"
    shown = Address("https://h.example/v1?key=1")
    assert (str(shown), f"{shown}", f"{shown!r}") == (masked := "https://h.example/v1?[key]", masked, repr(masked))


# At construction

MAKERS = {
    **{name: name for name in ("openai", "anthropic", "gemini", "openrouter", "ollama", "qwen", "compatible")},
    "responses": "openai",
    "qwen-native": "qwen",
}
APIS = {"responses": {"api": "responses"}, "qwen-native": {"api": "native"}}
VARIABLES = {
    "openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL"),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"),
    "openrouter": ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL"),
    "qwen": ("DASHSCOPE_API_KEY", "DASHSCOPE_HTTP_BASE_URL"),
}


def make(name, **options):
    """Make the provider that *name* stands for."""
    return providers.get(MAKERS[name], **APIS.get(name, {}), **options)


def refused(maker, *args, **options):
    """Give the ConfigError by which *maker* refuses."""
    with pytest.raises(errors.ConfigError) as caught:
        maker(*args, **options)
    assert type(caught.value) is errors.ConfigError
    return caught.value


MALFORMED = [
    f"{API_KEY}\n",
    f" {API_KEY}",
    f"{API_KEY} x",
    f"{API_KEY}\r\nX-Evil: 1",
    f"{API_KEY}\u00e9",
    f"{API_KEY}\0",
    f"{API_KEY}\u200b",
]


@pytest.mark.parametrize("name", MAKERS)
def test_a_malformed_key_is_refused_unseen(name):
    """A key with white space or non-ASCII characters is a ConfigError; no frame of ours shows it either."""
    for key in MALFORMED:
        address = {"base_url": "http://127.0.0.1:1/v1"}
        assert_hidden(shown_by(refused(make, name, api_key=key, **address)))
        with_header = refused(make, name, api_key="k-1", headers={"x-token": f"{API_KEY}\n"}, **address)
        assert_hidden(shown_by(with_header))
    named = {"openai": providers.OpenAI, "anthropic": providers.Anthropic, "gemini": providers.Gemini}
    named |= {"openrouter": providers.OpenRouter, "ollama": providers.Ollama, "qwen": providers.Qwen}
    if name in named:
        assert_hidden(shown_by(refused(named[name], api_key=MALFORMED[0])))
    assert_hidden(
        shown_by(refused(promptstream.chat, provider=MAKERS[name], api_key=MALFORMED[0], base_url="http://h"))
    )
    pack = {"prompts": {"p": {"system_template": "x"}}}
    opened = refused(promptstream.open, pack, "p", provider=MAKERS[name], api_key=MALFORMED[0], base_url="http://h")
    assert_hidden(shown_by(opened))


@pytest.mark.parametrize("name", VARIABLES)
def test_a_malformed_key_of_the_environment_is_refused_unseen(monkeypatch, name):
    """The variable is named, the key is not."""
    variable = VARIABLES[name][0]
    monkeypatch.setenv(variable, f"{API_KEY}\n")
    error = refused(make, name)
    assert variable in str(error)
    assert_hidden(shown_by(error))


def test_a_malformed_address_does_not_show_what_is_secret_in_it(monkeypatch):
    """A password or a query in a base URL that cannot be used stays out of the message."""
    addresses = (
        f"ftp://u:{API_KEY}@h/v1",
        f"http://u:{API_KEY}@h",
        f"http://[bad?key={API_KEY}",
        f"h/v1?key={API_KEY}",
        f"u:{API_KEY}@h",
    )
    for address in addresses:
        for name in MAKERS:
            with suppress(errors.ConfigError):
                make(name, api_key="k-1", base_url=address, allow_plaintext=True)
                continue
            error = refused(make, name, api_key="k-1", base_url=address, allow_plaintext=True)
            assert leak(f"{error!r} {error}") is None
        monkeypatch.setenv("OPENAI_API_KEY", "k-1")
        monkeypatch.setenv("OPENAI_BASE_URL", address)
        for maker in (promptstream.chat, providers.choose, providers.OpenAI):
            with suppress(errors.ConfigError):
                maker()
                continue
            assert leak(str(refused(maker))) is None


FAR = ("http://192.168.1.5:8000", "http://gpu.example", "http://127.0.0.1.evil.example", "HTTP://[2001:db8::1]:1")
NEAR = ("http://127.0.0.1:8000", "http://localhost:1", "http://[::1]:8000", "http://a.localhost", "https://gpu.example")


@pytest.mark.parametrize("name", MAKERS)
def test_a_key_does_not_leave_this_machine_in_clear_text(name):
    """http:// to another host together with a key is refused before anything is sent, unless it is allowed."""
    for origin in FAR:
        error = refused(make, name, api_key=API_KEY, base_url=origin)
        assert "clear text" in str(error)
        assert "https://" in str(error)
        assert f"promptstream.providers.get({MAKERS[name]!r}, …, allow_plaintext=True)" in str(error)
        assert_hidden(shown_by(error))
        make(name, api_key=API_KEY, base_url=origin, allow_plaintext=True).close()
    for origin in NEAR:
        make(name, api_key=API_KEY, base_url=origin).close()


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("header", ["Authorization", "api-key", "Cookie", "x-custom-token"])
def test_a_key_in_a_header_does_not_leave_in_clear_text_either(name, header):
    """Nor one in the address."""
    headers = {header: f"Bearer {API_KEY}"}
    refused(make, name, api_key="", headers={"x-api-key": API_KEY}, base_url=FAR[0])
    refused(make, name, api_key="k-1", headers=headers, base_url=FAR[0])
    if name in ("ollama", "compatible"):
        refused(make, name, headers=headers, base_url=FAR[0])
        if name == "compatible":
            refused(make, name, base_url=f"{FAR[0]}/v1?key={API_KEY}")


def test_a_server_without_a_key_may_be_anywhere():
    """An Ollama or a server of one's own on the network is asked as ever."""
    for name in ("ollama", "compatible"):
        for origin in FAR:
            make(name, base_url=origin, headers={"X-Title": "x"}).close()
    make("compatible", base_url=f"{FAR[0]}/v1?api-version=1").close()
    promptstream.chat(base_url=f"{FAR[0]}/v1").close()


@pytest.mark.parametrize("name", VARIABLES)
def test_an_address_of_the_environment_is_no_exception(monkeypatch, name):
    """The vendors' own variables, and Ollama's, are held to it alike."""
    key, url = VARIABLES[name]
    monkeypatch.setenv(key, API_KEY)
    monkeypatch.setenv(url, FAR[1])
    assert "http://gpu.example" in str(refused(make, name))
    refused(promptstream.chat, provider=name)
    make(name, allow_plaintext=True).close()
    monkeypatch.setenv(url, NEAR[0])
    make(name).close()
    monkeypatch.setenv("OLLAMA_HOST", "gpu.example")
    refused(make, "ollama", api_key=API_KEY)
    make("ollama").close()
    monkeypatch.setenv("PROMPTSTREAM_API_KEY", API_KEY)
    refused(promptstream.chat, provider="compatible", base_url=FAR[0])


@pytest.mark.parametrize("name", MAKERS)
def test_every_provider_hides_a_key_that_is_quoted_and_follows_no_redirect(server, monkeypatch, tmp_path, name):
    """Also those that share a dialect with another; .netrc adds nothing."""
    (tmp_path / "netrc").write_text("default login someone password s3cretnetrc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    other = server(quoting(in_every_field, DIALECTS["chat"]))
    for quote in (in_every_field, in_a_stream, as_a_status_line, lambda *_: full("307 Go", Location=other.origin)):
        one = server(quoting(quote, DIALECTS["chat"]))
        with make(name, api_key=API_KEY, base_url=one.origin, model="m", retry=promptstream.Retry(0)) as provider:
            with pytest.raises(errors.StreamError) as caught:
                provider.send("Hi")
            assert_hidden([*shown_by(caught.value), *state(provider), *state(provider.dialect)])
        (request,) = one.requests
        assert [value for value in request.headers.values() if API_KEY in value] in ([API_KEY], [f"Bearer {API_KEY}"])
        assert not any(value.startswith("Basic") for value in request.headers.values())
    assert not other.connections


# Processes


def command(*arguments, **variables):
    """Run the command line, and give its output and what ``ps`` would have told of it."""
    ours = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL", "_HOST"))}
    child = subprocess.Popen(
        [sys.executable, "-X", "dev", "-m", "promptstream", *arguments],
        env={**ours, "PYTHONPATH": str(ROOT), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    told = Path(f"/proc/{child.pid}/cmdline").read_text() if os.path.isdir("/proc/self") else ""
    out, err = child.communicate(timeout=60)
    return child.returncode, f"{told} {out} {err}"


def test_the_command_line_shows_no_key(server):
    """A refused key, quoted by the server, is neither printed nor an argument of a process; nor is a malformed one."""
    one = server(quoting(in_every_field, DIALECTS["chat"]))
    ask = ("ask", "Hi", "--provider", "openai", "--stats")
    code, told = command(*ask, "--json", OPENAI_API_KEY=API_KEY, OPENAI_BASE_URL=f"{one.url}?key={CANARIES['query']}")
    assert code == 1
    assert "openai says: [key]" in told or "[key]" in told
    assert leak(told) is None
    code, told = command(*ask, "--base-url", FAR[0], OPENAI_API_KEY=API_KEY)
    assert (code, "in clear text" in told, leak(told)) == (1, True, None)


def test_the_embedded_models_key_is_no_argument_of_its_process(model_file):
    """Its server is told by a pipe; ps and /proc show nothing."""
    if not os.path.isdir("/proc/self"):
        pytest.skip("there is no /proc")
    from promptstream.providers.local import llama_server

    with providers.Local() as provider:
        provider.send("Hi", max_tokens=1)
        key = Secret(provider.dialect.secret).encode()
        assert len(key) > 30
        pids = [each.process.pid for each in llama_server._servers.values()]
        assert pids
        for pid in pids:
            for place in ("cmdline", "environ"):
                assert key not in Path(f"/proc/{pid}/{place}").read_bytes()
