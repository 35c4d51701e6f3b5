"""The contract, messages in, bodies out: what every provider is asked, read by its own rules."""

from __future__ import annotations

import base64

import pytest
from playing import PNG, asked, encode, offline, read
from wires import Wire
from wires.base import KEY
from wires.script import Pictured, Said

import promptstream
from promptstream import errors
from promptstream.values.message import Image, Message, Text
from promptstream.values.request import ToolSpec

ADD = ToolSpec(
    "add",
    "Add two numbers.",
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]},
)
NOW = ToolSpec("now", "Tell the time.")
SCHEMA = {
    "title": "City",
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
    "additionalProperties": False,
}
VALUES = {
    "temperature": 0.5,
    "max_tokens": 300,
    "top_p": 0.9,
    "top_k": 40,
    "stop": ["END", "STOP"],
    "seed": 7,
    "frequency_penalty": 0.25,
    "presence_penalty": 0.75,
}


# Messages


def test_the_user_is_heard(wire: Wire):
    """A string is the user's message, the model is named, and a stream is asked for."""
    request = asked(wire, "Hi")
    assert [(turn.role, turn.items) for turn in request.turns] == [("user", [Said("Hi")])]
    assert (request.model, request.stream, request.system) == (wire.model, True, None)


def test_one_body_is_asked_for_where_nothing_is_to_stream(wire: Wire):
    """streaming=False asks the provider for one JSON body."""
    assert asked(wire, "Hi", streaming=False).stream is False


def test_another_model_is_asked_for_by_name(wire: Wire):
    """model= of a call goes over the provider's own."""
    assert asked(wire, "Hi", model=f"{wire.model}-next").model == f"{wire.model}-next"


def test_the_system_prompt_stands_at_its_place(wire: Wire):
    """Wherever the protocol wants it: it is read back as the system text, and not as a turn."""
    request = asked(wire, [Message("system", "You are terse."), Message("user", "Hi")])
    assert request.system == "You are terse."
    assert [turn.role for turn in request.turns] == ["user"]


def test_several_system_messages_are_all_heard(wire: Wire):
    """None of them gets lost, and they keep their order."""
    request = asked(wire, [Message("system", "One."), Message("system", "Two."), Message("user", "Hi")])
    assert request.system.index("One.") < request.system.index("Two.")


def test_an_empty_system_prompt_is_no_prompt(wire: Wire):
    """It is not sent as an empty text, which some providers refuse."""
    assert not asked(wire, [Message("system", ""), Message("user", "Hi")]).system


def test_plain_dicts_are_messages(wire: Wire):
    """What most code has at hand is read as it is."""
    request = asked(
        wire,
        [
            {"role": "system", "content": "You are terse."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Ho"},
            {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": " now?"}]},
        ],
    )
    assert request.system == "You are terse."
    assert [(turn.role, turn.text) for turn in request.turns] == [
        ("user", "Hi"),
        ("assistant", "Ho"),
        ("user", "And now?"),
    ]


def test_other_alphabets_are_said_as_they_are(wire: Wire):
    """Text is not escaped twice, cut or stripped."""
    said = "Žluťoučký kůň\n\t🐎 \u2028 'x' \"y\" \\z"
    assert asked(wire, said).turns[0].text == said


def test_two_messages_of_one_speaker_are_both_heard(wire: Wire):
    """Merged or not, nothing of them is lost."""
    request = asked(wire, [Message("user", "One."), Message("user", "Two.")])
    assert [turn.role for turn in request.turns] == ["user"]
    assert [item.text for item in request.turns[0].items] in (["One.", "Two."], ["One.\n\nTwo."])


def test_a_history_that_the_assistant_begins_is_taken(wire: Wire):
    """A greeting before the user's first word does not make the request invalid."""
    request = asked(wire, [Message("assistant", "Welcome!"), Message("user", "Hi")])
    assert request.turns[-1].role == "user"
    assert request.turns[-1].text.endswith("Hi")


# Parameters


@pytest.mark.parametrize("name", VALUES)
def test_a_parameter_is_named_as_the_provider_names_it_or_left_out_with_a_warning(wire: Wire, name):
    """It arrives with its value; where the provider lacks it, one warning names it and it is not sent."""
    call = encode(wire, "Hi", **{name: VALUES[name]})
    request = read(wire, call)
    if name in wire.lacking:
        assert name not in request.parameters
        assert len(call.warnings) == 1
        assert name in call.warnings[0]
    else:
        assert request.parameters[name] == VALUES[name]
        assert call.warnings == ()


def test_all_that_is_lacking_is_left_out_with_one_warning_each(wire: Wire):
    """No parameter is sent to fail."""
    given = {name: value for name, value in VALUES.items() if name in wire.lacking}
    call = encode(wire, "Hi", **given)
    read(wire, call)
    assert sorted(warning.split()[0] for warning in call.warnings) == sorted(given)


@pytest.mark.parametrize("effort", [None, "high", 4096, False], ids=str)
def test_all_parameters_at_once_are_a_valid_request(wire: Wire, effort):
    """Each is sent as given or left out with a warning of its own, also where two exclude each other."""
    call = encode(wire, "Hi", tools=[ADD], tool_choice="auto", parallel_tools=False, reasoning=effort, **VALUES)
    request = read(wire, call)
    for name, value in VALUES.items():
        warned = sum(warning.split()[0] == name for warning in call.warnings)
        assert warned <= 1
        if name != "max_tokens":  # which may have to leave room for thoughts
            assert request.parameters.get(name, value) == value
            assert (name in request.parameters) != bool(warned)


@pytest.mark.parametrize("limit", [1, 20, 1500])
@pytest.mark.parametrize("effort", ["minimal", "max", 1, 100_000], ids=str)
def test_an_effort_under_any_limit_is_a_valid_request(wire: Wire, effort, limit):
    """A budget of thoughts larger than the answer's limit is not sent to fail."""
    request = asked(wire, "Hi", reasoning=effort, max_tokens=limit)
    assert request.parameters["max_tokens"] >= limit


def test_two_answers_at_once_are_refused_before_anything_is_sent(wire: Wire):
    """One stream is one answer."""
    if not wire.has("several"):
        assert wire.lacks["several"]
        return
    with pytest.raises(errors.ConfigError):
        encode(wire, "Hi", extra=wire.several)


def test_one_stop_text_is_as_good_as_a_list(wire: Wire):
    """A string is taken where the provider wants a list."""
    if "stop" in wire.lacking:
        assert len(encode(wire, "Hi", stop="END").warnings) == 1
    else:
        assert asked(wire, "Hi", stop="END").parameters["stop"] in ("END", ["END"])


@pytest.mark.parametrize("choice", ["auto", "required", "none", "add"])
def test_the_choice_of_tools_is_passed_on_or_left_out_with_a_warning(wire: Wire, choice):
    """A mode, or one tool by its name."""
    call = encode(wire, "Hi", tools=[ADD, NOW], tool_choice=choice)
    request = read(wire, call)
    if "tool_choice" not in wire.lacking:
        assert (request.parameters["tool_choice"], call.warnings) == (choice, ())
    elif choice == "none":
        assert request.tools == {} or any("tool_choice" in warning for warning in call.warnings)
    else:
        assert choice == "auto" or sum("tool_choice" in warning for warning in call.warnings) == 1


def test_calls_one_at_a_time_are_asked_for_or_left_out_with_a_warning(wire: Wire):
    """parallel_tools=False."""
    call = encode(wire, "Hi", tools=[ADD], parallel_tools=False)
    request = read(wire, call)
    if "parallel_tools" in wire.lacking:
        assert sum("parallel_tools" in warning for warning in call.warnings) == 1
    else:
        assert (request.parameters["parallel_tools"], call.warnings) == (False, ())


def test_tools_are_offered_with_their_schema(wire: Wire):
    """Name and arguments arrive; a tool without arguments is offered as well."""
    tools = asked(wire, "Hi", tools=[ADD, NOW]).tools
    assert list(tools) == ["add", "now"]
    assert tools["add"]["properties"] == ADD.parameters["properties"]
    assert tools["add"]["required"] == ["a", "b"]


@pytest.mark.parametrize("value", ["low", "high", 2048, False, True], ids=str)
def test_an_effort_is_asked_for_or_left_out_with_a_warning(wire: Wire, value):
    """Never sent to fail: the request is valid, and where the model cannot, one warning says so."""
    call = encode(wire, "Hi", reasoning=value)
    request = read(wire, call)
    sent = set(request.parameters) & {"reasoning", "enable_thinking", "thinking_budget"}
    warned = [warning for warning in call.warnings if "reasoning" in warning]
    assert len(warned) <= 1
    assert sent or warned or isinstance(value, bool)


def test_json_is_asked_for_or_left_out_with_a_warning(wire: Wire):
    """response_format="json"."""
    call = encode(wire, "Give JSON.", response_format="json")
    request = read(wire, call)
    if wire.has("json"):
        assert request.parameters["format"] == "json"
    else:
        assert "format" not in request.parameters, wire.lacks["json"]
        assert sum("response_format" in warning for warning in call.warnings) == 1


def test_a_schema_is_asked_for(wire: Wire):
    """schema= arrives with its properties, or is Unsupported before anything is sent."""
    if "json_schema" not in offline(wire).capabilities:
        with pytest.raises(errors.Unsupported, match="json_schema"):
            encode(wire, "Give JSON.", schema=SCHEMA)
        return
    form = asked(wire, "Give JSON.", schema=SCHEMA).parameters["format"]
    assert (form["properties"], form["required"]) == (SCHEMA["properties"], SCHEMA["required"])


def test_an_unknown_parameter_is_a_type_error_that_names_the_right_one(wire: Wire):
    """It is not silently dropped, and nothing was sent."""
    with pytest.raises(TypeError, match="temperature"):
        offline(wire).stream("Hi", temprature=1)


def test_extra_goes_into_the_body_verbatim(wire: Wire):
    """What this library does not know can still be said."""
    assert encode(wire, "Hi", extra={"novelty": {"a": [1]}}).json["novelty"] == {"a": [1]}


def test_the_key_is_in_its_header_alone(wire: Wire):
    """It stands neither in the address nor in the body nor in any repr."""
    call = encode(wire, "Hi")
    assert KEY not in call.url + str(call.json) + repr(call) + str(call.headers) + repr(offline(wire).dialect)


# Images


def test_an_image_is_sent_as_its_bytes(wire: Wire):
    """They arrive whole, with their media type where the protocol has a place for it, beside the text."""
    request = asked(wire, [Message("user", ["What is it?", Image(data=PNG, media_type="image/png")])])
    (image,) = request.of(Pictured)
    assert base64.b64decode(image.data) == PNG
    assert image.media_type in ("image/png", None)
    assert request.turns[0].text == "What is it?"


def test_an_image_by_its_address_is_sent_or_refused_before_anything_is(wire: Wire, serve):
    """Where the provider takes bytes only, the error says what to do, and no byte went out."""
    message = Message("user", [Text("What is it?"), Image(url="https://example.com/cat.png")])
    server = serve("A cat.")
    with server.provider() as provider:
        if wire.has("image_url"):
            assert provider.send([message]).text == "A cat."
            assert [image.url for image in server.asked[0].of(Pictured)] == ["https://example.com/cat.png"]
        else:
            with pytest.raises(errors.ConfigError):
                provider.send([message])
            assert server.requests == []


@pytest.mark.usefixtures("no_price_list")
def test_a_warning_reaches_the_response(wire: Wire, serve):
    """What was left out is in response.warnings, once."""
    name = min(wire.lacking & set(VALUES), default=None)
    with serve("Hi").provider() as provider:
        response = provider.send("Hi", **({name: VALUES[name]} if name else {}))
    assert sum(bool(name) and name in warning for warning in response.warnings) == bool(name)
    assert len(response.warnings) == bool(name)


def test_two_turns_of_a_conversation(wire: Wire, serve):
    """The second request repeats the first turn, and the system prompt stands once at its place."""
    server = serve(["Once", " upon"], "More.")
    with server.provider() as provider, promptstream.chat("You are terse.", provider=provider) as conv:
        assert "".join(map(str, conv.stream("Begin"))) == "Once upon"
        assert conv.send("Go on").text == "More."
    second = server.asked[1]
    assert second.system == "You are terse."
    assert [(turn.role, turn.text) for turn in second.turns] == [
        ("user", "Begin"),
        ("assistant", "Once upon"),
        ("user", "Go on"),
    ]
