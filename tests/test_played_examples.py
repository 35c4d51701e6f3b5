"""The examples that a script answers, run as programs: what they print is known to the letter."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from openai_server import PATIENCE, Answer, OpenAIServer
from provider_server import ProviderServer
from test_examples import EXAMPLES, PLAYED, shown, shown_by, started
from wires import WIRES
from wires.script import Answer as Spoken
from wires.script import Say, Use

import promptstream
from promptstream.state import SQLiteStore


def played(name: str, *arguments: str, **more: str) -> str:
    """Run an example without a key, a network or an argument, as a newcomer does first."""
    return shown_by(more, name, *arguments)


@pytest.mark.parametrize("name", PLAYED)
def test_a_played_example_is_short_and_says_how_to_ask_a_real_model(name: str) -> None:
    """A reader sees the whole of it on a page, and is told of --provider."""
    code = (EXAMPLES / name / "main.py").read_text(encoding="utf-8")
    assert code.count("\n") < 80
    assert "Without --provider a script plays the model" in " ".join(code.split())
    assert 'add_argument("--provider", help="such as openai; without it: a script")' in code


def test_guardrails_tells_of_a_real_model_that_its_answer_was_cut() -> None:
    """An answer at its limit ends normally, so the program says it; the others are seen to where they stream."""
    with OpenAIServer(Answer("Once", finish="length")) as server:
        assert "\n[length]\n" in shown(server, "guardrails", "--provider", "openai")


def test_tools_runs_two_calls_and_shows_all_that_streams() -> None:
    """Text, the arguments as they are written, the calls, their results, and the text of the second round."""
    out = played("tools")
    assert out.startswith("Provider: scripted\n> Can I take the ferry")
    assert (
        'Let me look. {"place": {"city": "Stavanger"}, "days": 1}\n'
        "[calls weather with {'place': {'city': 'Stavanger'}, 'days': 1}]\n"
        '{"origin": "Bergen", "destination": "Stavanger"}\n'
        "[calls ferries with {'origin': 'Bergen', 'destination': 'Stavanger'}]\n"
        '[weather gave {"city":"Stavanger","sky":"rain","wind":13,"unit":"m/s"}]\n'
        '[ferries gave ["08:00","13:30"]]\n'
        "Ferries leave at 08:00 and 13:30. Expect rain and 13 m/s of wind: rough, but no storm.\n"
    ) in out
    assert "\n2 rounds, 2 calls. Cost: $0.0000 | " in out


@pytest.mark.parametrize("name", ["openai", "anthropic", "openrouter"])
def test_tools_runs_what_a_provider_calls(name: str) -> None:
    """The same program over a wire: the schema of the hints is sent, a nested object becomes one of its class."""
    arguments = '{"place":{"city":"Oslo"},"unit":"knots"}'
    call = Spoken([Say("Let me look. "), Use("toolu_1", "weather", arguments)], "tool_calls")
    with ProviderServer(WIRES[name], call, "It rains.") as server:
        out = shown(server, "tools", "--provider", name)
        first, second = server.asked
    assert list(first.tools) == ["weather", "ferries"]
    assert "[calls weather with {'place': {'city': 'Oslo'}, 'unit': 'knots'}]\n" in out
    assert '[weather gave {"city":"Oslo","sky":"rain","wind":28,"unit":"knots"}]\nIt rains.\n' in out
    assert len(second.turns) == len(first.turns) + 2


DECIDED = """\
I am sorry to hear that. I will see to it.
[3 calls wait; this process ends]

[refund {'order': 7, 'euros': 80} waits]
[refund {'order': 8, 'euros': 20} waits]
[close_account {} waits]
[refund gave '50.00 euros paid back for order 7']
[refund gave '20.00 euros paid back for order 8']
[close_account gave 'rejected: the customer has to confirm it in writing']
You get 70 euros back. To close your account, please confirm that in writing.
"""


def test_hitl_decides_in_a_second_process() -> None:
    """One call is edited, one approved, one rejected; none of them was run by the process that asked."""
    assert played("hitl") == DECIDED


def test_hitl_sends_one_request_with_all_results(tmp_path: Path) -> None:
    """The two processes, by hand and over a wire; a third has nothing to go on from, and runs nothing again."""
    steps = ["--provider", "anthropic", "--store", str(tmp_path / "claims.db")]
    uses = [Use("toolu_1", "refund", '{"order":7,"euros":80}'), Use("toolu_2", "close_account")]
    asked = Spoken(uses, "tool_calls")
    with ProviderServer(WIRES["anthropic"], asked, "Done.") as server:
        assert shown(server, "hitl", "ask", *steps) == "\n[2 calls wait; this process ends]\n\n"
        assert shown(server, "hitl", "decide", *steps).endswith("Done.\n")
        with started(server.environment(), "hitl", "decide", *steps) as child:
            out, errors = child.communicate(timeout=PATIENCE)
        assert (out, child.returncode) == ("", 1)
        assert errors.startswith("Error: There is nothing to resume")
        bodies = [request.json for request in server.requests if request.method == "POST"]
    assert len(bodies) == 2
    results = {part["tool_use_id"]: part["content"] for part in bodies[1]["messages"][-1]["content"]}
    assert "50.00 euros paid back" in json.dumps(results["toolu_1"])
    assert "rejected" in json.dumps(results["toolu_2"])


def test_variables_come_anew_each_turn_and_a_wrong_one_is_told() -> None:
    """Environment, clock, callable, the conversation's, one turn's and JSON; three that break a rule send nothing."""
    turns = played("variables", APP_SHOP_NAME="Fish & Co").split("--- system\n")[1:]
    shop = r"You are the assistant of Fish & Co\. Today is \w+day, \d{4}-\d\d-\d\d\.\nCustomer: "
    herring = r'\. The cart: \[\{"title": "Herring", "pieces": 2\}, .*\]; Herring lies on top\.\n'
    assert re.match(shop + r'Ada\. The cart: \[\{"title": "nothing"\}\]; nothing lies on top\.\nBe friendly', turns[0])
    assert re.match(shop + "Ada" + herring + r"Be formal, in 2 sentences at most\. Visit number 2\.\n", turns[1])
    assert re.match(shop + "Grace" + herring + r"Be friendly, in 2 sentences at most\. Visit number 3\.\n", turns[2])
    assert turns[2].splitlines()[-3:] == [
        "[refused] The variable 'tone' is 'rude'; it must be one of 'friendly', 'formal'.",
        "[refused] The variable 'sentences' must be a number, not 'many'.",
        "[refused] The variable 'customer' (The customer's name) has no value. Give variables={\"customer\": ...}.",
    ]
    assert "assistant of the shop." in played("variables")


def test_middleware_counts_logs_and_adds_context() -> None:
    """Two requests, two log lines each; what was added is not in the history."""
    out = played("middleware")
    assert [line for line in out.splitlines() if line.startswith("[log] asked")] == [
        "[log] asked scripted scripted round 1: 1 messages, 0 tools",
        "[log] asked scripted scripted round 1: 3 messages, 0 tools",
    ]
    assert len(re.findall(r"^\[log\] scripted scripted round 1: stop, [23] chunks, ", out, re.M)) == 2
    assert re.search(r"^The history has 4 messages\. Metrics: \{'requests': 2, 'characters': 65, 'milli", out, re.M)


def test_middleware_sends_the_notes_it_found() -> None:
    """The model is told what the question needs, just before it."""
    with OpenAIServer("8.95 m.") as server:
        shown(server, "middleware", "--provider", "openai")
        sent = [[message["content"] for message in request["messages"]] for request in server.requests]
    assert sent[0] == ["Use this: Long jump: 8.95 m, Mike Powell, 1991.", "Who has the record in the long jump?"]
    assert sent[1][-2:] == ["Use this: 8.95 m are 29 feet and 4 1/4 inches.", "And how far was that?"]
    assert len(sent[1]) == 4


def test_guardrails_lets_nothing_out_that_is_forbidden() -> None:
    """Words split over chunks are stopped or replaced, personal data is blacked out, and input is checked unsent."""
    out = played("guardrails")
    said = out.partition("\nThe history: ")[0]
    for forbidden in ("buy sha", "guaranteed", "mbrella", "415", "help@"):
        assert forbidden not in out, forbidden
    shares, bank, reach, card, shout = said.split("> ")[1:]
    assert "\nYou could |\n[stopped] The guardrail 'banned_words' tripped: the text, after 10 characters" in shares
    assert shares.count("We give no investment advice.") == 2
    assert "\nYou may try |another bank. [cut by a rule]|\n[content_filter]\n" in bank
    assert re.search(r"^Call \|?\[redacted\]\|? or write to \|?\[redacted\]\|?, any day", reach, re.M)
    assert "\n[stop]\n[rule] max_length of output: " in reach
    assert "\n\n[stopped] The guardrail 'pii_detection' tripped" in card
    assert shout.startswith("ANSWER ME\n\n[stopped] The guardrail 'polite' tripped: the message of the user shouts;")


def test_guardrails_sends_no_address_and_no_card() -> None:
    """What is redacted does not reach the provider, and what is refused is not asked at all."""
    with OpenAIServer("Hello.") as server:
        shown(server, "guardrails", "--provider", "openai")
        sent = [request["messages"][-1]["content"] for request in server.requests]
    assert sent[2:] == ["How do I reach you? Write to [redacted]."]


def test_state_resumes_forks_and_lists(tmp_path: Path) -> None:
    """Two conversations of six messages with the same beginning; and they are in the file that was named."""
    path = tmp_path / "journeys.db"
    out = played("state", str(path))
    assert "\n[2 messages are back; the model was told: You plan journeys.]\n" in out
    with SQLiteStore(path) as store:
        entries = store.list()
        kept, fork = ([message.text for message in store.load(each.id).messages] for each in entries)
    assert [each.metadata["title"] for each in entries] == ["Norway", "Norway, the slow way"]
    assert kept[:4] == fork[:4]
    assert (kept[4], fork[4]) == ("Then book it.", "And on foot?")
    for said in (*kept, *fork):
        assert f": {said}\n" in out
    assert "Two seats" in played("state")


def test_long_conversation_sends_what_fits() -> None:
    """Sliding forgets the beginning, a summary and a strategy of one's own keep what matters; the history is whole."""
    sliding, summary, own = played("long_conversation").split("--- truncate=")[1:]
    assert "[5 of 7 messages were sent]" in sliding
    assert "Ada" not in sliding.partition("With the last question:")[2]
    assert "[4 of 7 messages were sent]" in summary
    assert "\n  user: Summary of the conversation so far: Ada counts whales. The blue one is the largest.\n" in summary
    assert own.startswith("first_and_running\n")
    assert "[3 of 7 messages were sent]" in own
    assert "With the last question:\n  user: My name is Ada, and I count whales for a living.\n" in own


def test_structured_output_grows_and_is_checked() -> None:
    """The object so far, then one of the class; an answer that breaks the rules says how, and is asked for anew."""
    assert played("structured_output") == (
        "> A recipe for pancakes\n"
        "  Pan: \n"
        "  Pancakes: \n"
        "  Pancakes: flour\n"
        "  Pancakes: flour, mi\n"
        "  Pancakes: flour, milk\n"
        "  Pancakes: flour, milk, eggs\n"
        "Pancakes, a dessert: 870.5 g\n\n"
        "> A recipe for lemonade\n"
        "[invalid] The answer is not what schema= asks for. $.course: 'drink' is not one of ['starter', 'main', "
        "'dessert']; $.ingredients[0].grams: -3 breaks exclusiveMinimum (0)\n"
        '[it was] {"title": "Lemonade", "course": "drink", "ingredients": [{"name": "lemons", "grams": -3}]}\n'
        "> A recipe for lemonade. Your last answer was not right: The answer is not what schema= asks for. "
        "$.course: 'drink' is not one of ['starter', 'main', 'dessert']; $.ingredients[0].grams: -3 breaks "
        "exclusiveMinimum (0)\n"
        "Recipe(title='Lemonade', course='starter', ingredients=[Ingredient(name='lemons', grams=300.0)], "
        "minutes=None)\n"
    )


def test_structured_output_tells_an_answer_that_is_no_json() -> None:
    """A model that cannot do it ends the program in a line, not in a traceback."""
    with (
        OpenAIServer("A recipe!") as server,
        started(server.environment(), "structured_output", "--provider", "openai") as child,
    ):
        _, errors = child.communicate(timeout=PATIENCE)
    assert errors.startswith("\nError: The answer is not what schema= asks for.")
    assert child.returncode == 1


def test_http_tools_calls_the_service_as_far_as_it_is_allowed() -> None:
    """Two refusals, then two calls with the key; the model sees the part that it may see, and the key is not shown."""
    out = re.sub(r"127\.0\.0\.1:\d+", "HOST", played("http_tools", SHOP_KEY="key-0123456789abcdef"))
    assert "key-0123456789abcdef" not in out
    assert out == (
        "[refused] HTTP tool 'stock' calls HOST, which is not allowed; write allow=['HOST'].\n"
        "[refused] The pack's tool 'stock' wants to send the environment variable 'SHOP_KEY'; allow it with "
        "http_tools(…, env=['SHOP_KEY']).\n\n"
        "Let me look. \n"
        "[calls stock with {'item': 'herring', 'size': 'L'}]\n"
        "  (the service got GET /stock/herring?size=L, the key is right)\n"
        '[stock gave {"item":"herring","pieces":7}]\n'
        "There are. \n"
        "[calls reserve with {'item': 'herring', 'pieces': 2}]\n"
        "  (the service got POST /reservations, the key is right)\n"
        "[reserve gave 42]\n"
        "Two herrings wait for you, under the number 42.\n"
    )


def test_the_pack_of_http_tools_has_no_finding_but_its_http_sections() -> None:
    """They are ours, not the schema's, and the finding says what reads them."""
    (path,) = (EXAMPLES / "http_tools").glob("*.pack.json")
    findings = promptstream.load(path).check()
    assert [each.path for each in findings] == ["$.tools.stock.http", "$.tools.reserve.http"]
    assert all("promptstream.tools.http_tools" in each.message for each in findings)


def test_stream_reader_takes_chunk_by_chunk_and_leaves() -> None:
    """The end of a stream is an end, not an empty chunk; one that is left early does not keep the program."""
    assert played("stream_reader") == (
        "Air scatters blue light the most.\n"
        "[stop, 33 tokens]\n"
        "[the whole: 'Air scatters blue light the most.']\n"
        "Because [closed]\n"
    )


def test_error_handling_tells_each_kind_apart() -> None:
    """Whole, late, cancelled, refused, cut, cut with an error as a chunk, and one that another provider answers."""
    assert played("error_handling") == (
        "The sea rises.\n[Complete]\n"
        "It was a dark night\n[Timeout - response truncated]\n"
        "\n[Stream cancelled by user]\n"
        "\n[Error: Too many requests. Try again in 7 s]\n"
        "Half an ans\n[Error: The connection ended before the answer did.]\n"
        "[Truncated; what had come: 'Half an ans']\n"
        "[the history has 2 messages]\n\n"
        "Half of it\n[chunk.error: The connection ended before the answer did.]\n\n"
        "I am.\n[Complete]\n[answered by another]\n"
    )


def test_progress_counts_and_draws_nothing_where_nobody_watches() -> None:
    """The same program in a pipe prints its answers, and no bar."""
    assert played("progress") == (
        "AI is software that learns from examples.\n[Complete - 41 characters]\n\n"
        "[Complete - 575 characters]\n\n"
        "[told: 23 characters in 5 pieces]\n\n"
        "Why is the sea salty? Rivers bring salt.\n"
        "Is it all? Nearly all of it.\n"
        "Since when? Four billion years.\n"
        "Until when? Longer than us.\n"
    )


def test_cost_prices_each_answer_and_keeps_two_budgets() -> None:
    """Cached input is cheaper; dollars and tokens each stop before a request, also between two rounds of tools."""
    assert played("cost") == (
        "> Who wrote the first program?\nAda Lovelace.\n[$0.003080: 1200 tokens in, 8 out]\n"
        "> When?\nIn 1843.\n[$0.000806: 1220 tokens in (1024 of them cached), 6 out]\n"
        "[$0.003886 and 2434 tokens together]\n\n"
        "fact 1: $0.004000, 700 tokens so far\n"
        "fact 2: $0.009000, 1800 tokens so far\n"
        "fact 3: $0.015000, 3300 tokens so far\n"
        "[stopped at fact 4] The conversation has spent $0.015 of its budget of $0.01; no further request was sent.\n\n"
        "fact 1: $0.001150, 340 tokens so far\n"
        "[stopped at fact 2] The conversation has used 2120 tokens of its budget of 2000; "
        "no further request was sent.\n\n"
    )


def test_batch_tells_what_became_of_each_row_and_a_second_run_does_what_is_missing(tmp_path: Path) -> None:
    """A row that cannot be sent is told among the answers; what the file has is not asked for again."""
    out = str(tmp_path / "out.jsonl")
    assert played("batch", "--out", out) == (
        "a1: Happy.\na2: Angry.\n"
        "a3: failed: The variable 'product' (What they have bought) has no value. "
        'Give variables={"product": ...}.\n'
        "a4: Unsure.\na5: Angry.\na6: Happy.\n\n"
        "5 answered, 1 failed, 0 done before; 160 tokens\n"
    )
    lines = Path(out).read_text(encoding="utf-8").splitlines()
    Path(out).write_text("\n".join(lines[:2]) + "\n" + lines[3][:40], encoding="utf-8")
    with OpenAIServer(Answer("Sad", finish="length")) as server:
        again = shown(server, "batch", "--provider", "openai", "--out", out)
    assert "a4: Sad [cut at the token limit]\n" in again
    assert "\n3 answered, 1 failed, 2 done before; " in again


def test_record_replay_plays_what_was_recorded_word_for_word(tmp_path: Path) -> None:
    """Two turns and three rounds come back, another prompt is told, and the file that was named has the recording."""
    path = tmp_path / "swim.ndjson"
    talk = (
        "> Can I swim in Bergen today?\nLet me feel. Eleven degrees: if you are brave.\n[2 rounds, 173 tokens]\n"
        "> And tomorrow?\nAsk me tomorrow.\n[1 rounds, 114 tokens]\n"
    )
    assert played("record_replay", str(path)) == (
        f"--- Recorded\n{talk}--- Played\n{talk}--- The same, word for word\n"
        "nothing was recorded for this request. It differs from exchange 1 (line 3), the nearest:\n"
        "  messages[0] system\n"
        "    recorded: 'You are a life guard.'\n"
        "    asked:    'You are a pirate.'\n"
        "If that is meant to be asked, record it again.\n"
    )
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line.get("type") for line in lines].count("request") == 3
