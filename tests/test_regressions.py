"""Faults found by reading, where every test was green: each with its promise."""

from __future__ import annotations

import http.client
import threading
import time

import pytest
from openai_server import Answer, OpenAIServer
from torture.stage import dismiss

import promptstream
from promptstream import errors, providers
from promptstream.providers.local import llama_server, weights
from promptstream.values.chunk import Finish, Opaque
from promptstream.values.request import ChatRequest
from promptstream.values.usage import Usage
from promptstream.wire import causes
from promptstream.wire import watch as watch_module
from promptstream.wire.watch import Watch

KEY = "sk-mysecretkey123456"


def test_a_model_that_loads_slowly_does_not_outlast_the_total(monkeypatch, tmp_path):
    """The start of the embedded model is under the turn's clocks; it goes on for whoever asks next."""
    released = threading.Event()

    def address(model, *, threads, context):
        released.wait(5)
        return "http://127.0.0.1:9/v1", "key"

    monkeypatch.setattr(llama_server, "available", lambda: True)
    monkeypatch.setattr(llama_server, "address", address)
    monkeypatch.setattr(weights, "installed", lambda: True)
    monkeypatch.setattr(weights, "path", lambda: tmp_path / "model.gguf")
    begun = time.monotonic()
    with pytest.raises(errors.DeadlineExceeded):
        providers.Local().send("Hi", timeout=0.1)
    assert time.monotonic() - begun < 0.1 + 0.25
    released.set()


def test_a_key_in_a_header_of_ones_own_is_secret_and_wins(monkeypatch):
    """However it is spelled, the given header is sent, and what the server quotes of it is masked."""
    with OpenAIServer(Answer(f"Incorrect API key provided: {KEY}", status=401)) as server:
        given = {"authorization": f"Bearer {KEY}"}
        provider = providers.get("openai", api_key="sk-another-key-0000", base_url=server.url, headers=given)
        with provider, pytest.raises(errors.Authentication) as caught:
            provider.send("Hi")
        assert KEY not in str(caught.value)
        assert "Authorization" not in provider.dialect._headers


def test_the_key_of_the_environment_goes_to_a_base_url_only_where_compatible_is_named(monkeypatch):
    """base_url alone sends no key that was not given for it."""
    monkeypatch.setenv("PROMPTSTREAM_API_KEY", KEY)
    with promptstream.chat(base_url="http://127.0.0.1:9/v1") as conv:
        assert not conv.provider.dialect.secret
    with promptstream.chat(provider="compatible", base_url="http://127.0.0.1:9/v1") as conv:
        assert conv.provider.dialect.secret == KEY


def test_a_key_without_its_provider_is_told_so(monkeypatch):
    """api_key alone, where only the embedded model could be chosen, is a ConfigError that names the way out."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: object())
    with pytest.raises(errors.ConfigError, match="provider='openai'"):
        promptstream.chat(api_key=KEY)


def test_a_watchdog_that_could_not_start_starts_the_next_time(monkeypatch):
    """A machine short of threads does not lose its clocks for good."""
    dog = watch_module.Watchdog()
    monkeypatch.setattr(watch_module, "_watchdog", dog)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(errors.StreamError, match="No thread for the clocks"):
            Watch(promptstream.Timeout()).start()
    watch = Watch(promptstream.Timeout(total=0.01))
    watch.start()
    with pytest.raises(errors.DeadlineExceeded):
        watch.sleep(5)
    watch.end()
    dismiss(dog)


@pytest.mark.parametrize("options", [{"verify": "/no/such.pem"}, {"cert": "/no/such.pem"}])
def test_a_file_that_is_not_there_is_a_config_error(options):
    """A wrong path is no network fault, and nothing is sent or tried again."""
    provider = providers.Compatible("https://127.0.0.1:9/v1", **options)
    with pytest.raises(errors.ConfigError, match=r"no/such\.pem"):
        provider.send("Hi")


def test_a_bundle_of_the_environment_that_is_not_there_is_a_config_error(monkeypatch):
    """The variable is named."""
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such.pem")
    provider = providers.Compatible("https://127.0.0.1:9/v1")
    with pytest.raises(errors.ConfigError, match="SSL_CERT_FILE"):
        provider.send("Hi")


def test_clearing_waits_for_a_cancelled_turn_to_end():
    """What a cancelled turn keeps does not turn up after clear()."""
    conv = promptstream.chat(provider=providers.Scripted([["a", "b"]]))
    inside, leave = threading.Event(), threading.Event()

    def loop():
        with pytest.raises(errors.Cancelled):
            for _ in conv.stream("Hi"):
                inside.set()
                leave.wait(5)

    thread = threading.Thread(target=loop)
    thread.start()
    inside.wait(5)
    conv.cancel()
    threading.Timer(0.05, leave.set).start()
    conv.clear()
    thread.join(5)
    assert conv.messages == []
    assert conv.last is None


def test_the_parts_of_a_conversations_usage_are_known_where_its_turns_are():
    """cached, cache_write and reasoning add up like the rest."""
    spent = Usage(10, 5, cached=4, cache_write=0, reasoning=2)
    conv = promptstream.chat(provider=providers.Scripted([["a", Finish(usage_seen=spent, reason="stop")]]))
    conv.send("Hi")
    assert conv.usage == spent


@pytest.mark.parametrize("clock", ["first", "idle"])
def test_a_scripted_delay_is_under_the_clocks(clock):
    """A user's test of timeouts sees what a slow server would do."""
    script = [[0.5, "a"]] if clock == "first" else [["a", 0.5, "b"]]
    expected = errors.FirstTokenTimeout if clock == "first" else errors.IdleTimeout
    with pytest.raises(expected):
        providers.Scripted(script).send("Hi", timeout=promptstream.Timeout(**{clock: 0.1}))


@pytest.mark.parametrize(
    "make",
    [
        lambda: promptstream.Retry(attempts=None),
        lambda: promptstream.Retry(base="1"),
        lambda: promptstream.Timeout(connect=1e10),
        lambda: providers.Scripted([[float("inf")]]),
        lambda: promptstream.chat(5, provider=providers.Scripted()),
        lambda: providers.Scripted().stream("Hi", parallel_tools="yes"),
        lambda: providers.Scripted().stream("Hi", tool_choice=5),
    ],
)
def test_what_cannot_work_is_refused_where_it_is_given(make):
    """Not in the middle of a turn, in place of the real error."""
    with pytest.raises((TypeError, ValueError, errors.ConfigError)):
        make()


def test_a_cut_answer_is_told_without_the_names_of_exceptions():
    """What a newcomer reads is a sentence, not a class of the standard library."""
    with OpenAIServer(Answer("Half an ans", finish=None)) as server, pytest.raises(errors.Truncated) as caught:
        providers.Compatible(server.url).send("Hi")
    assert caught.value.response.text == "Half an ans"
    assert "Exception" not in str(caught.value)
    cut = causes.translate(http.client.HTTPException("the body ended before its last chunk."), "body", "host")
    assert str(cut) == "The answer was cut: the body ended before its last chunk."


def test_a_plain_message_keeps_its_refusal_and_its_thoughts():
    """Nothing of a vendor's own message is lost in silence."""
    read = promptstream.Message.from_dict(
        {"role": "assistant", "content": None, "refusal": "No.", "reasoning_content": "Hm."}
    )
    assert (read.text, read.reasoning) == ("No.", "Hm.")


def test_a_short_key_is_scrubbed_too():
    """Seven letters are a key as well as seventy."""
    dialect = providers.get("openai", api_key="sk-test", model="m").dialect
    error = dialect.error(401, {}, b'{"error": {"message": "bad <sk-test> x"}}')
    assert "sk-test" not in str(error)
    assert "bad <[key]> x" in str(error)


def test_a_dialect_reads_headers_in_any_case():
    """Header names are alike in any case (RFC 9110 section 5.1), for who calls a dialect by hand too."""
    dialect = providers.get("openai", api_key=KEY, model="m").dialect
    error = dialect.error(429, {"Retry-After": "3", "X-Request-Id": "q"}, b"{}")
    assert (error.retry_after, error.request_id) == (3.0, "q")


@pytest.mark.parametrize("ending", ["/chat/completions", "/responses", "/messages"])
def test_an_address_with_its_endpoint_is_told_what_to_cut(ending):
    """What is copied from a curl command has the endpoint at its end, which would come twice."""
    with pytest.raises(errors.ConfigError, match=f"ends in {ending}"):
        providers.get("compatible", base_url=f"http://127.0.0.1:8000/v1{ending}")


def test_a_result_without_its_call_is_told_where_it_is_read():
    """A tool's message that names no call would be refused by every provider in words of its own."""
    with pytest.raises(ValueError, match="tool_call_id"):
        promptstream.Message.from_dict({"role": "tool", "content": "5"})


def test_the_demo_model_takes_no_tools_and_another_may(monkeypatch, tmp_path):
    """SmolLM2 has no place for tools: who asks for them is told before anything is sent."""
    monkeypatch.setattr(llama_server, "available", lambda: True)
    assert "tools" not in providers.Local().capabilities
    monkeypatch.setenv("PROMPTSTREAM_LOCAL_MODEL", str(tmp_path / "own.gguf"))
    assert "tools" in providers.Local().capabilities


def test_a_signature_goes_back_to_the_model_that_was_asked():
    """Where a server names another generation than was asked for, the same question goes to the same place again."""
    said = {
        "candidates": [{"content": {"parts": [{"text": "", "thoughtSignature": "c2ln"}]}, "finishReason": "STOP"}],
        "modelVersion": "gemini-2.5-flash",
    }
    dialect = providers.get("gemini", api_key=KEY, model="gemini-3-pro-preview").dialect
    parts = [chunk for chunk in dialect.decode_whole(said) if isinstance(chunk, Opaque)]
    message = promptstream.Message("assistant", [promptstream.Text("", part.data) for part in parts])
    history = (promptstream.Message("user", "Hi"), message, promptstream.Message("user", "And?"))
    for model, kept in (("gemini-3-pro-preview", True), ("gemini-2.5-pro", True), ("gemini-1.5-pro", False)):
        sent = str(dialect.encode(ChatRequest(history, model)).json)
        assert ("c2ln" in sent) is kept, model
