"""What is sent to Gemini: address, headers and body, to the letter, and the second turn of a conversation."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import responses

import promptstream
from promptstream import Document, Image, Message, ModelInfo, Text, ToolCall, ToolResult, ToolSpec, providers
from promptstream.errors import Authentication, ConfigError, MissingKey, ProtocolError, Unsupported
from promptstream.providers.gemini.content import NO_SIGNATURE
from promptstream.providers.gemini.models import rules_for
from promptstream.values.message import Reasoning
from promptstream.values.request import Call, ChatRequest, check_parameters

ROOT = "https://generativelanguage.googleapis.com"
URL = f"{ROOT}/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
KEY = "gemini-secret-0123456789"
PNG = b"\x89PNG\r\n\x1a\n rest"
WEATHER = ToolSpec("weather", "Tell the weather.", {"type": "object", "properties": {"city": {"$ref": "#/$defs/c"}}})
ASK = Message("user", "Hello")


def answer(*parts: Any, finish: str = "STOP", model: str = "gemini-2.5-flash") -> dict:
    """Give one whole response."""
    return {
        "candidates": [{"content": {"parts": [*parts], "role": "model"}, "finishReason": finish, "index": 0}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 4},
        "modelVersion": model,
        "responseId": "r-1",
    }


def sse(*bodies: Any) -> bytes:
    """Write responses as Google does."""
    return "".join(f"data: {json.dumps(body)}\r\n\r\n" for body in bodies).encode()


@pytest.fixture
def net() -> Iterator[responses.RequestsMock]:
    """Answer in place of the network; an address that was not foreseen is a failure."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def called(
    *messages: Message, model: str = "gemini-2.5-flash", tools: Any = (), extra: Any = None, **given: Any
) -> Call:
    """Encode a request without sending it."""
    dialect = providers.get("gemini", api_key=KEY, model=model).dialect
    request = ChatRequest(messages or (ASK,), model, tuple(tools), check_parameters(given), extra or {})
    return dialect.encode(request)


def contents_of(*messages: Message, model: str = "gemini-2.5-flash") -> list[dict]:
    """Give the contents as they would go out."""
    return called(*messages, model=model).json["contents"]


def config_of(model: str = "gemini-2.5-flash", **given: Any) -> tuple[dict, tuple[str, ...]]:
    """Give the generationConfig, {} where none is sent, and the warnings."""
    call = called(model=model, **given)
    return call.json.get("generationConfig", {}), call.warnings


# Address and headers


def test_a_streamed_request_goes_to_the_address_with_its_key_in_a_header(net):
    """URL, method, headers and body of the plainest request are exactly these; the key is not in the URL."""
    net.post(URL, body=sse(answer({"text": "Hi"})), content_type="text/event-stream")
    with providers.get("gemini", api_key=KEY) as provider:
        response = provider.send("Hello")
    assert (response.text, response.finish_reason, response.request_id) == ("Hi", "stop", "r-1")
    (call,) = net.calls
    assert (call.request.method, call.request.url) == ("POST", URL)
    headers = {name.lower(): value for name, value in call.request.headers.items()}
    assert headers.pop("x-goog-api-key").encode() == KEY.encode()
    assert int(headers.pop("content-length")) == len(call.request.body)
    assert headers.pop("user-agent") == f"promptstream/{promptstream.__version__}"
    assert headers == {
        "accept": "text/event-stream, application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
    }
    assert json.loads(call.request.body) == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


def test_a_whole_answer_is_asked_for_at_another_address(net):
    """``streaming=False`` is another method of the API, not a field."""
    net.post(f"{ROOT}/v1beta/models/gemini-2.5-flash:generateContent", json=answer({"text": "Hi"}))
    with providers.get("gemini", api_key=KEY) as provider:
        response = provider.send("Hello", streaming=False)
    assert (response.text, response.usage.total, response.complete) == ("Hi", 4, True)


def test_an_array_of_responses_in_place_of_events_is_an_answer(net):
    """A proxy that drops ``alt=sse`` makes the stream one JSON array."""
    net.post(URL, json=[answer({"text": "Hi"})])
    with providers.get("gemini", api_key=KEY) as provider:
        assert provider.send("Hello").text == "Hi"


def test_the_key_comes_from_either_variable(monkeypatch):
    """GEMINI_API_KEY goes before GOOGLE_API_KEY; without both there is none."""
    with pytest.raises(MissingKey, match="GEMINI_API_KEY or GOOGLE_API_KEY"):
        providers.get("gemini")
    monkeypatch.setenv("GOOGLE_API_KEY", "google-0123456789")
    assert providers.get("gemini").dialect.secret[:] == "google-0123456789"
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    assert providers.get("gemini").dialect.secret[:] == KEY


@pytest.mark.parametrize(
    ("options", "model", "url"),
    [
        ({}, "models/gemini-x", f"{ROOT}/v1beta/models/gemini-x"),
        ({}, "tunedModels/my-1", f"{ROOT}/v1beta/tunedModels/my-1"),
        ({}, "gemini x?y#:z%", f"{ROOT}/v1beta/models/gemini%20x%3Fy%23%3Az%25"),
        ({"api_version": "v1"}, "gemini-x", f"{ROOT}/v1/models/gemini-x"),
        ({"base_url": "http://127.0.0.1:9/"}, "gemini-x", "http://127.0.0.1:9/v1beta/models/gemini-x"),
        ({"base_url": "http://127.0.0.1:9/v1beta"}, "gemini-x", "http://127.0.0.1:9/v1beta/models/gemini-x"),
        (
            {"base_url": "https://aiplatform.googleapis.com", "api_version": "v1/projects/p/locations/eu"},
            "publishers/google/models/gemini-x@001",
            "https://aiplatform.googleapis.com/v1/projects/p/locations/eu/publishers/google/models/gemini-x@001",
        ),
    ],
)
def test_the_address_is_base_version_and_resource(options, model, url):
    """A bare name is a model; a path stays one, and no character of it can reach into verb or query."""
    dialect = providers.get("gemini", api_key=KEY, **options).dialect
    assert dialect.encode(ChatRequest((ASK,), model)).url == f"{url}:streamGenerateContent?alt=sse"


def test_the_base_url_comes_from_the_vendors_variable(monkeypatch):
    """As in Google's own SDK; a query in it stays."""
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9/gemini?tenant=a")
    dialect = providers.get("gemini", api_key=KEY).dialect
    base = "http://127.0.0.1:9/gemini/v1beta/models"
    assert dialect.encode(ChatRequest((ASK,), "m")).url == f"{base}/m:streamGenerateContent?alt=sse&tenant=a"
    assert dialect.encode(ChatRequest((ASK,), "m", streaming=False)).url == f"{base}/m:generateContent?tenant=a"


@pytest.mark.parametrize("model", ["../files", "models/../x", "a//b", "/x"])
def test_a_model_that_leaves_its_place_is_refused(model):
    """Nothing is sent to another resource than the one named."""
    with pytest.raises(ConfigError, match="model="):
        called(model=model)


@pytest.mark.parametrize("version", ["", "/v1", "v1?x", "v1 ", 1])
def test_a_version_that_is_no_path_is_refused(version):
    """``api_version`` goes into the address as it is."""
    with pytest.raises(ConfigError, match="api_version="):
        providers.get("gemini", api_key=KEY, api_version=version)


def test_models_are_listed(net):
    """Names without ``models/``, what they are called, and how much they read."""
    row = {"name": "models/gemini-2.5-flash", "displayName": "Gemini 2.5 Flash", "inputTokenLimit": 1048576}
    net.get(f"{ROOT}/v1beta/models?pageSize=1000", json={"models": [row, {"name": "tunedModels/t"}, {"no": 1}]})
    with providers.get("gemini", api_key=KEY) as provider:
        models = provider.models()
    assert models == [ModelInfo("gemini-2.5-flash", "Gemini 2.5 Flash", 1048576), ModelInfo("tunedModels/t")]
    with pytest.raises(ProtocolError):
        provider.dialect.decode_models({"models": 5})


def test_an_invalid_key_is_told_by_its_class_and_not_shown(net):
    """400 with API_KEY_INVALID is Authentication; nothing prints the key."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    error = {"code": 400, "message": f"{KEY} not valid.", "status": "INVALID_ARGUMENT", "details": [info]}
    net.post(URL, status=400, json={"error": error})
    with providers.get("gemini", api_key=KEY) as provider, pytest.raises(Authentication) as raised:
        provider.send("Hello")
    assert KEY not in f"{raised.value!r} {provider!r} {vars(provider.dialect)!r}"


# Parameters


def test_parameters_go_under_geminis_names():
    """All of them into generationConfig."""
    given = {"temperature": 0.5, "max_tokens": 9, "top_p": 0.9, "top_k": 3, "stop": "x", "seed": 1}
    given |= {"frequency_penalty": 0.1, "presence_penalty": 0.2}
    config, warnings = config_of(**given)
    assert warnings == ()
    assert config == {
        "temperature": 0.5,
        "maxOutputTokens": 9,
        "topP": 0.9,
        "topK": 3,
        "stopSequences": ["x"],
        "seed": 1,
        "frequencyPenalty": 0.1,
        "presencePenalty": 0.2,
    }


def test_six_stop_sequences_are_one_too_many():
    """Gemini takes five; nothing is sent to fail, and none is dropped unseen."""
    assert config_of(stop=list("abcde"))[0] == {"stopSequences": list("abcde")}
    with pytest.raises(ConfigError, match="at most 5 stop sequences; 6"):
        config_of(stop=list("abcdef"))


@pytest.mark.parametrize(
    ("model", "reasoning", "thinking"),
    [
        ("gemini-2.5-flash", False, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", True, {"includeThoughts": True, "thinkingBudget": -1}),
        ("gemini-2.5-flash", "low", {"includeThoughts": True, "thinkingBudget": 1024}),
        ("gemini-2.5-flash", "medium", {"includeThoughts": True, "thinkingBudget": 8192}),
        ("gemini-2.5-flash", "high", {"includeThoughts": True, "thinkingBudget": 24576}),
        ("gemini-2.5-flash", "max", {"includeThoughts": True, "thinkingBudget": 24576}),
        ("models/gemini-2.5-pro", "max", {"includeThoughts": True, "thinkingBudget": 32768}),
        ("gemini-2.5-pro", 5, {"includeThoughts": True, "thinkingBudget": 128}),
        ("gemini-2.5-flash-lite", 5, {"includeThoughts": True, "thinkingBudget": 512}),
        ("gemini-2.5-flash", 999_999, {"includeThoughts": True, "thinkingBudget": 24576}),
        ("gemini-2.5-flash", {"effort": "low", "exclude": True}, {"includeThoughts": False, "thinkingBudget": 1024}),
        ("gemini-flash-latest", "low", {"includeThoughts": True, "thinkingBudget": 1024}),
        ("gemini-3-flash-preview", False, {"thinkingLevel": "minimal"}),
        ("gemini-3-flash-preview", True, {"includeThoughts": True}),
        ("gemini-3-flash-preview", "minimal", {"includeThoughts": True, "thinkingLevel": "minimal"}),
        ("gemini-3.1-pro-preview", "medium", {"includeThoughts": True, "thinkingLevel": "medium"}),
        ("gemini-3-pro-preview", "medium", {"includeThoughts": True, "thinkingLevel": "high"}),
        ("gemini-3-pro-preview", "minimal", {"includeThoughts": True, "thinkingLevel": "low"}),
        ("gemini-3.6-flash", "xhigh", {"includeThoughts": True, "thinkingLevel": "high"}),
        ("publishers/google/models/gemini-3.6-flash", "max", {"includeThoughts": True, "thinkingLevel": "high"}),
    ],
)
def test_reasoning_is_tokens_until_generation_2_and_a_level_from_3_on(model, reasoning, thinking):
    """Within what the model takes; thoughts are shown wherever thinking is asked for."""
    config, warnings = config_of(model, reasoning=reasoning)
    assert config == {"thinkingConfig": thinking}
    sent = thinking.get("thinkingLevel", thinking.get("thinkingBudget"))
    asked = "none" if reasoning is False else reasoning
    changed = asked != sent and sent not in (0, -1) and (isinstance(sent, str) or isinstance(reasoning, int))
    changed = changed and reasoning is not True
    told = f"reasoning={asked!r} was sent as {sent!r}, the nearest that {model} takes."
    assert warnings == ((told,) if changed else ())


def test_a_level_leaves_room_for_the_answer():
    """Thoughts count into max_tokens: with few of them a level means its share, a number of tokens stays."""
    assert config_of(max_tokens=1000, reasoning="high")[0]["thinkingConfig"]["thinkingBudget"] == 800
    assert config_of(max_tokens=1000, reasoning=900)[0]["thinkingConfig"]["thinkingBudget"] == 900


@pytest.mark.parametrize(("budget", "level"), [(100, "minimal"), (1024, "low"), (5000, "medium"), (9000, "high")])
def test_tokens_become_a_level_with_a_warning(budget, level):
    """Generation 3 takes levels; the nearest that covers the tokens is sent."""
    config, (warning,) = config_of("gemini-3-flash-preview", reasoning=budget)
    assert config == {"thinkingConfig": {"includeThoughts": True, "thinkingLevel": level}}
    assert warning == f"reasoning={budget} was sent as {level!r}, the nearest that gemini-3-flash-preview takes."


@pytest.mark.parametrize("model", ["gemini-2.5-pro", "gemini-3-pro-preview"])
def test_pro_models_cannot_be_told_not_to_think(model):
    """The parameter is left out with a warning."""
    warning = f"reasoning was left out: {model} cannot be told not to think."
    assert config_of(model, reasoning=False) == ({}, (warning,))


@pytest.mark.parametrize("model", ["gemini-2.0-flash", "gemini-1.5-pro", "gemma-3-27b-it", "gemini-2.5-flash-image"])
def test_models_that_do_not_think_are_not_asked_to(model):
    """One warning names it; asking them not to think needs none."""
    assert config_of(model, reasoning="low") == ({}, (f"reasoning was left out: {model} does not take it.",))
    assert config_of(model, reasoning=False) == ({}, ())


def test_json_is_asked_for_by_type_and_schema():
    """An ordinary JSON Schema goes into the field that takes one."""
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "additionalProperties": False}
    assert config_of(response_format="json")[0] == {"responseMimeType": "application/json"}
    wanted = {"responseMimeType": "application/json", "responseJsonSchema": schema}
    assert config_of(schema=schema)[0] == wanted
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    assert config_of(response_format=form)[0] == wanted
    own = {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["a"]}}
    assert config_of(response_format=own)[0] == own


def test_json_and_tools_go_together_from_generation_3_on():
    """Earlier models refuse the pair: the form is left out with a warning, the tools stay."""
    call = called(tools=[WEATHER], schema={"type": "object"})
    assert call.warnings == ("schema was left out: gemini-2.5-flash does not take it together with tools.",)
    assert "generationConfig" not in call.json
    call = called(tools=[WEATHER], schema={"type": "object"}, model="gemini-3-flash-preview")
    assert call.warnings == ()
    assert call.json["generationConfig"]["responseJsonSchema"] == {"type": "object"}


def test_trap_30_tools_are_declared_with_ordinary_json_schema():
    """``parameters`` would refuse ``$ref`` and objects without properties; parametersJsonSchema takes them."""
    call = called(tools=[WEATHER, ToolSpec("now")])
    assert call.json["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "weather",
                    "description": "Tell the weather.",
                    "parametersJsonSchema": WEATHER.parameters,
                },
                {"name": "now", "parametersJsonSchema": {"type": "object", "properties": {}}},
            ]
        }
    ]
    assert "toolConfig" not in call.json


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("auto", {"mode": "AUTO"}),
        ("required", {"mode": "ANY"}),
        ("none", {"mode": "NONE"}),
        ("weather", {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
        (
            {"type": "function", "function": {"name": "weather"}},
            {"mode": "ANY", "allowedFunctionNames": ["weather"]},
        ),
        ({"mode": "VALIDATED"}, {"mode": "VALIDATED"}),
    ],
)
def test_tool_choice_is_a_calling_config(choice, config):
    """A mode, or the one function by name."""
    call = called(tools=[WEATHER], tool_choice=choice)
    assert call.json["toolConfig"] == {"functionCallingConfig": config}
    assert call.warnings == ()


def test_what_gemini_lacks_is_left_out_with_a_warning():
    """parallel_tools has no field; a choice without tools would be refused."""
    call = called(tools=[WEATHER], parallel_tools=False)
    assert call.warnings == ("parallel_tools was left out: gemini-2.5-flash does not take it.",)
    call = called(tool_choice="required")
    assert (call.warnings, call.json.get("toolConfig")) == (
        ("tool_choice was left out: gemini-2.5-flash was given no tools.",),
        None,
    )


def test_extra_goes_over_everything_and_into_objects():
    """An object is merged with what is there; lists and values take its place."""
    extra = {
        "generationConfig": {"temperature": 1, "thinkingConfig": {"includeThoughts": False}, "mediaResolution": "LOW"},
        "safetySettings": [{"category": "X", "threshold": "OFF"}],
        "tools": [{"googleSearch": {}}],
    }
    body = called(temperature=0.1, seed=5, reasoning="low", tools=[WEATHER], extra=extra).json
    assert body["generationConfig"] == {
        "temperature": 1,
        "seed": 5,
        "thinkingConfig": {"includeThoughts": False, "thinkingBudget": 1024},
        "mediaResolution": "LOW",
    }
    assert body["tools"] == [{"googleSearch": {}}]
    assert body["safetySettings"] == extra["safetySettings"]
    assert extra["generationConfig"]["thinkingConfig"] == {"includeThoughts": False}


@pytest.mark.parametrize("config", ["generationConfig", "generation_config"])
@pytest.mark.parametrize("name", ["candidateCount", "candidate_count"])
def test_more_than_one_candidate_is_refused(config, name):
    """One stream is one answer, in either spelling of the API."""
    with pytest.raises(ConfigError, match="one stream is one answer"):
        called(extra={config: {name: 2}})
    assert called(extra={config: {name: 1}}).json[config] == {name: 1}


def test_what_only_a_user_says_cannot_be_sent_as_the_models():
    """A result in an assistant's message is no answer to a call; it is not left out unseen."""
    with pytest.raises(ConfigError, match="assistant"):
        called(Message("user", "x"), Message("assistant", ["x", ToolResult("a", "f", "5")]))


def test_a_text_completion_is_unsupported():
    """Gemini has none; nothing is sent."""
    with providers.get("gemini", api_key=KEY) as provider, pytest.raises(Unsupported):
        provider.completion("Once")


# Messages


def test_system_messages_become_the_system_instruction():
    """Wherever they stand; the contents hold the others, neighbours in one role as one."""
    system, later = Message("system", "Be brief."), Message("system", "Be kind.")
    body = called(system, ASK, Message("user", "There?"), later, Message("assistant", "Yes."), ASK).json
    assert body == {
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Hello"}, {"text": "There?"}]},
            {"role": "model", "parts": [{"text": "Yes."}]},
            {"role": "user", "parts": [{"text": "Hello"}]},
        ],
    }


def test_a_request_that_says_nothing_is_refused():
    """Gemini needs contents; a system prompt alone is none."""
    with pytest.raises(ConfigError, match="besides the system prompt"):
        called(Message("system", "Be brief."), Message("assistant", ()))


@pytest.mark.parametrize(
    ("part", "encoded"),
    [
        (Image(data=PNG), {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}}),
        (
            Image(url="data:image/webp;base64,AAAA"),
            {"inlineData": {"mimeType": "image/webp", "data": "AAAA"}},
        ),
        (
            Image(url="https://x.test/a.jpg?size=1"),
            {"fileData": {"fileUri": "https://x.test/a.jpg?size=1", "mimeType": "image/jpeg"}},
        ),
        (Image(url="gs://bucket/a"), {"fileData": {"fileUri": "gs://bucket/a"}}),
        (
            Document(data=b"%PDF-1.7"),
            {"inlineData": {"mimeType": "application/pdf", "data": base64.b64encode(b"%PDF-1.7").decode()}},
        ),
        (Document(data=b"x", name="n.md"), {"inlineData": {"mimeType": "text/markdown", "data": "eA=="}}),
        (
            Document(url=f"{ROOT}/v1beta/files/f1", media_type="application/pdf"),
            {"fileData": {"fileUri": f"{ROOT}/v1beta/files/f1", "mimeType": "application/pdf"}},
        ),
    ],
)
def test_images_and_documents_go_inline_or_by_address(part, encoded):
    """Bytes inline, addresses as file data, each with its type where that is known."""
    assert contents_of(Message("user", ["Look", part])) == [{"role": "user", "parts": [{"text": "Look"}, encoded]}]


@pytest.mark.parametrize("part", [Image(), Image(url="ftp://x/a.png"), Image(url="http://[x/a.png"), Document()])
def test_media_without_bytes_or_address_are_refused(part):
    """Nothing is sent to fail."""
    with pytest.raises(ConfigError):
        contents_of(Message("user", ["Look", part]))


def own(**kept: Any) -> dict:
    """Give the metadata of a part that came from Gemini."""
    return {"gemini": {"model": "gemini-2.5-flash", **kept}}


CALLS = Message(
    "assistant",
    [
        ToolCall("8hd", "add", {"a": 2, "b": 3}, metadata=own(id="8hd", thoughtSignature="EsIN")),
        ToolCall("call_1", "multiply", {"a": 2, "b": 3}, metadata=own()),
    ],
)


def test_trap_27_results_go_in_one_content_in_the_calls_order():
    """As many as the calls, by name, with the ids that the provider gave and no others."""
    results = [Message("tool", ToolResult("call_1", "", "6")), Message("tool", ToolResult("8hd", "add", "5"))]
    contents = contents_of(ASK, CALLS, *results, Message("user", "So?"))
    assert contents[1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "add", "args": {"a": 2, "b": 3}, "id": "8hd"}, "thoughtSignature": "EsIN"},
                {"functionCall": {"name": "multiply", "args": {"a": 2, "b": 3}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "add", "response": {"result": 5}, "id": "8hd"}},
                {"functionResponse": {"name": "multiply", "response": {"result": 6}}},
                {"text": "So?"},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("content", "error", "response"),
    [
        ("5", False, {"result": 5}),
        ("sunny", False, {"result": "sunny"}),
        ("", False, {"result": ""}),
        ('{"t": 1.5}', False, {"t": 1.5}),
        ("[1, 2]", False, {"result": [1, 2]}),
        ("null", False, {"result": None}),
        ("NaN", False, {"result": "NaN"}),
        (str(10**30), False, {"result": 10**30}),
        ("[" * 99 + "]" * 99, False, {"result": "[" * 99 + "]" * 99}),
        ("boom", True, {"error": "boom"}),
    ],
)
def test_trap_30_a_result_is_an_object(content, error, response):
    """Objects as they are, all else wrapped; JSON text is read, so that numbers stay numbers."""
    contents = contents_of(ASK, CALLS, Message("tool", ToolResult("8hd", "add", content, error)))
    assert contents[2]["parts"][0]["functionResponse"]["response"] == response


def test_a_result_of_an_unknown_call_needs_a_name():
    """Gemini matches results by name."""
    with pytest.raises(ConfigError, match="names no tool"):
        contents_of(ASK, Message("tool", ToolResult("x", "", "5")))


def test_trap_28_a_models_message_goes_back_part_by_part():
    """Thoughts, text, raw parts and calls in their order, each signature on its part, empty ones too."""
    raw = {"executableCode": {"language": "PYTHON", "code": "1"}}
    parts = [
        Reasoning("I add.", own()),
        Text("a"),
        Text("b", own(thoughtSignature="Yg==")),
        Text("", own(part=raw, thoughtSignature="Yw==")),
        ToolCall("call_1", "f", {}, "{}", metadata=own(thoughtSignature="ZA==")),
        Text("", own(thoughtSignature="ZQ==")),
    ]
    contents = contents_of(ASK, Message("assistant", parts), Message("tool", ToolResult("call_1", "f", "1")))
    assert contents[1]["parts"] == [
        {"text": "I add.", "thought": True},
        {"text": "a"},
        {"text": "b", "thoughtSignature": "Yg=="},
        {**raw, "thoughtSignature": "Yw=="},
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "ZA=="},
        {"text": "", "thoughtSignature": "ZQ=="},
    ]


def test_other_providers_thoughts_and_data_stay_behind():
    """Only what Gemini gave goes back to it; a message that holds nothing else is left out."""
    foreign = {"anthropic": {"signature": "x"}}
    assert contents_of(ASK, Message("assistant", [Reasoning("hm", foreign), Text("", foreign)])) == contents_of(ASK)
    mixed = Message("assistant", [Reasoning("hm"), Text("Yes", foreign), ToolCall("c.1", "f", None, '{"a')])
    contents = contents_of(ASK, mixed, Message("tool", ToolResult("c.1", "f", "1")))
    assert contents[1]["parts"] == [{"text": "Yes"}, {"functionCall": {"name": "f", "args": {}}}]


def test_a_call_without_a_name_is_echoed_under_a_stand_in():
    """A model that named no tool is told so by the result; both must have a name, and the same."""
    call = ToolCall("c1", "", None, "{}", "the call names no tool")
    contents = contents_of(ASK, Message("assistant", call), Message("tool", ToolResult("c1", "", "no such tool", True)))
    assert contents[1]["parts"] == [{"functionCall": {"name": "unnamed", "args": {}}}]
    response = {"name": "unnamed", "response": {"error": "no such tool"}}
    assert contents[2]["parts"] == [{"functionResponse": response}]


@pytest.mark.parametrize("metadata", [{"gemini": 5}, {"gemini": {"thoughtSignature": 5, "part": 5, "model": 5}}])
def test_metadata_that_nobody_wrote_here_does_no_harm(metadata):
    """A history may have been edited."""
    assert contents_of(ASK, Message("assistant", [Text("Yes", metadata)]))[1]["parts"] == [{"text": "Yes"}]


def test_thoughts_of_a_stopped_answer_go_back_only_if_they_were_signed():
    """What was cut is not passed off as whole."""
    parts = [Reasoning("half", own()), Reasoning("whole", own(thoughtSignature="cw==")), Text("a")]
    contents = contents_of(ASK, Message("assistant", parts, "cancelled"), ASK)
    assert contents[1]["parts"] == [
        {"text": "whole", "thought": True, "thoughtSignature": "cw=="},
        {"text": "a"},
    ]


@pytest.mark.parametrize("model", ["gemini-3-pro-preview", "gemini-3.6-flash", "gemini-flash-latest"])
def test_foreign_calls_are_signed_by_the_documented_stand_in(model):
    """Each step of the current turn, on its first call; earlier turns and signed calls are left alone."""
    call = ToolCall("c1", "f", {"a": 1})
    steps = [Message("assistant", [call, attrs_second]), Message("tool", [ToolResult("c1", "f", "1"), RESULT])]
    contents = contents_of(ASK, *steps, ASK, *steps, *steps, model=model)
    signatures = [part.get("thoughtSignature") for content in contents for part in content["parts"]]
    assert [at for at, each in enumerate(signatures) if each == NO_SIGNATURE] == [6, 10]
    assert {*signatures} == {None, NO_SIGNATURE}


attrs_second = ToolCall("c2", "g", {})
RESULT = ToolResult("c2", "g", "2")


def test_earlier_generations_need_no_stand_in():
    """Generation 2.5 takes calls without a signature."""
    call = Message("assistant", ToolCall("c1", "f", {}))
    contents = contents_of(ASK, call, Message("tool", ToolResult("c1", "f", "1")))
    assert contents[1]["parts"] == [{"functionCall": {"name": "f", "args": {}}}]


def test_a_signature_goes_only_to_its_own_generation():
    """What another generation signed would be refused as corrupted: a stand-in takes its place."""
    results = Message("tool", [ToolResult("8hd", "add", "5"), ToolResult("call_1", "multiply", "6")])
    first = contents_of(ASK, CALLS, results, model="gemini-3-pro-preview")[1]["parts"][0]
    assert (first["thoughtSignature"], first["functionCall"]["id"]) == (NO_SIGNATURE, "8hd")
    same = contents_of(ASK, CALLS, results, model="models/gemini-2.5-pro")[1]["parts"][0]
    assert same["thoughtSignature"] == "EsIN"


@pytest.mark.parametrize(
    ("model", "generation"),
    [
        ("gemini-2.5-flash", (2, 5)),
        ("models/gemini-3-pro-preview", (3, 0)),
        ("gemini-3.1-flash-lite-preview", (3, 1)),
        ("gemini-robotics-er-1.5-preview", (1, 5)),
        ("gemini-flash-latest", None),
        ("gemma-3-27b-it", None),
        ("tunedModels/mine", None),
        ("xgemini-2.5", None),
    ],
)
def test_the_generation_is_read_from_the_name(model, generation):
    """With or without a path in front; where the name does not tell, it is unknown."""
    assert rules_for(model).generation == generation


# The second turn


def test_the_second_turn_echoes_the_first(net):
    """Every part of an answer goes back as it came, with the tools' results in the calls' order."""
    parts = [
        {"text": "I look.", "thought": True},
        {"functionCall": {"name": "weather", "args": {"city": "Rome"}, "id": "8hd"}, "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}},
    ]
    url = f"{ROOT}/v1beta/models/gemini-3-pro-preview:streamGenerateContent?alt=sse"
    model = "gemini-3.1-pro-preview"
    ends = [{"text": "20 and 5"}, {"text": "", "thoughtSignature": "ZW5k"}]
    net.post(url, body=sse(answer(*parts[:2], model=model), answer(parts[2], model=model)))
    net.post(url, body=sse(answer(*ends, model=model)))
    net.post(url, body=sse(answer({"text": "Bye"}, model=model)))
    history = [Message("user", "Weather?")]
    with providers.get("gemini", api_key=KEY, model="gemini-3-pro-preview") as provider:
        first = provider.send(history, tools=[WEATHER])
        rome, oslo = first.tool_calls
        results = [ToolResult(oslo.id, "weather", "5"), ToolResult(rome.id, "weather", '{"t": 20}')]
        stored = json.loads(json.dumps(first.message.to_dict()))  # as a store keeps it
        history += [Message.from_dict(stored), Message("tool", results)]
        second = provider.send(history, tools=[WEATHER])
        assert (first.finish_reason, second.text) == ("tool_calls", "20 and 5")
        history += [second.message, Message("user", "Thanks")]
        assert provider.send(history, tools=[WEATHER]).text == "Bye"
    assert json.loads(net.calls[-1].request.body)["contents"] == [
        {"role": "user", "parts": [{"text": "Weather?"}]},
        {"role": "model", "parts": parts},
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "weather", "response": {"t": 20}, "id": "8hd"}},
                {"functionResponse": {"name": "weather", "response": {"result": 5}}},
            ],
        },
        {"role": "model", "parts": ends},
        {"role": "user", "parts": [{"text": "Thanks"}]},
    ]


def test_a_conversation_echoes_signed_answers(net):
    """The history that a conversation keeps sends an answer's empty signed part back in its place."""
    parts = [{"text": "Oi"}, {"text": "", "thoughtSignature": "ZW5k"}]
    net.post(URL, body=sse(answer(parts[0]), answer(parts[1])))
    net.post(URL, body=sse(answer({"text": "Bye"})))
    with promptstream.chat("Be brief.", provider=providers.get("gemini", api_key=KEY)) as conv:
        assert conv.send("Hi in Portuguese?").text == "Oi"
        assert conv.send("Thanks").text == "Bye"
    body = json.loads(net.calls[-1].request.body)
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert body["contents"][1] == {"role": "model", "parts": parts}


def test_an_answer_survives_being_kept_as_json_and_pickled(net):
    """Signatures, raw parts, ids and numbers of any size go back as they came."""
    parts = (
        {"text": "I add.", "thought": True},
        {"executableCode": {"code": "1", "language": "PYTHON"}},
        {"functionCall": {"id": "x1", "name": "f", "args": {"n": 10**30}}, "thoughtSignature": "c2ln"},
    )
    net.post(URL, body=sse(answer(*parts)), content_type="text/event-stream")
    message = providers.get("gemini", api_key=KEY).send("Hello").message
    kept = Message.from_dict(json.loads(json.dumps(message.to_dict())))
    assert kept == message == pickle.loads(pickle.dumps(message))
    result = Message("tool", ToolResult("x1", "f", "5"))
    assert contents_of(ASK, kept, result)[1]["parts"] == list(parts)
