"""Long conversations: what is sent of a history that does not fit its budget."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptstream.errors import BudgetExceeded, ConfigError
from promptstream.truncation import STRATEGIES, Summary, Truncation, estimate
from promptstream.values.message import Document, Image, Message, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.request import ToolSpec

WORD = "word "
SYSTEM = Message("system", "Be brief.")
TOOL = ToolSpec("search", "Search the web.", {"type": "object", "properties": {"query": {"type": "string"}}})


def words(text: str) -> int:
    """Count as the simplest tokenizer does."""
    return len(text.split())


def user(text: str) -> Message:
    """Say something as the user."""
    return Message("user", text)


def answer(text: str) -> Message:
    """Say something as the model."""
    return Message("assistant", text)


def call(*ids: str) -> Message:
    """Call a tool, once for each id."""
    return Message(
        "assistant", [ToolCall(each, "search", {"query": each}, json.dumps({"query": each})) for each in ids]
    )


def result(*ids: str, content: str = "found") -> Message:
    """Give the results of calls."""
    return Message("tool", [ToolResult(each, "search", content) for each in ids])


def dialogue(turns: int) -> list[Message]:
    """Give turns of a question of 10 words and an answer of 10, each message 14 tokens by ``words``."""
    return [make(f"{number} " + WORD * 9) for number in range(turns) for make in (user, answer)]


def texts(messages: Sequence[Message]) -> list[str]:
    """Give what is told apart in ``dialogue``: each message's first word."""
    return [message.text.split()[0] for message in messages]


class Summariser:
    """Make summaries that say what they were made of, and remember what was asked."""

    def __init__(self, length: int = 3) -> None:
        self.asked: list[tuple[list[str], str]] = []
        self.length = length

    def __call__(self, messages: Sequence[Message], before: str) -> str:
        self.asked.append((texts(messages), before))
        return f"S{len(self.asked)} " + WORD * (self.length - 1)


# Histories of every kind


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Draw turns with rounds of tools: parallel calls, results in one message or several, pauses, pending ends."""
    text = st.sampled_from(["", "a", "some words here", WORD * 40, "長い" * 20])
    ids = [0]
    reused = draw(st.booleans())  # some providers number calls anew in each round

    def fresh() -> str:
        ids[0] += 1
        return f"call_{ids[0] % 3 if reused else ids[0]}"

    history = [answer("Welcome.")] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.integers(0, 5)) == 0:
            history.append(Message("system", draw(text)))
        history += [user(draw(text)) for _ in range(draw(st.sampled_from([1, 1, 1, 2])))]
        for _ in range(draw(st.integers(0, 3))):
            called = [fresh() for _ in range(draw(st.integers(1, 3)))]
            history.append(Message("assistant", [Text(draw(text)), *call(*called).parts]))
            done = called[: draw(st.integers(0, len(called)))] if draw(st.integers(0, 3)) == 0 else called
            if draw(st.integers(0, 9)) == 0:
                history.append(user("Are you there?"))
            content = draw(text)
            apart = draw(st.booleans())
            history += [result(each, content=content) for each in done] if apart else [result(*done, content=content)]
        history += [answer(draw(text)) for _ in range(draw(st.integers(0, 2)))]
    if draw(st.integers(0, 9)) == 0:
        history.append(result("nobody called this"))
    return history


def pairs(history: Sequence[Message]) -> list[tuple[int, int]]:
    """Give for each result where its call stands and where it does."""
    found = []
    for number, message in enumerate(history):
        for part in message.parts:
            if isinstance(part, ToolResult):
                places = [n for n in range(number) if part.call_id in [each.id for each in history[n].tool_calls]]
                found += [(places[-1], number)] if places else []
    return found


def running_from(history: Sequence[Message]) -> int:
    """Give where the turn that is running begins: at the user's last word, or before, if that parted a pair."""
    held = pairs(history)
    starts = [
        number
        for number, message in enumerate(history)
        if message.role == "user" and not any(start < number <= end for start, end in held)
    ]
    return max(starts, default=0)


def check_sent(history: Sequence[Message], sent: Sequence[Message]) -> None:
    """Check that *sent* is the end of *history*, from a word of the user on, with no pair parted."""
    places = [next(n for n, message in enumerate(history) if message is each) for each in sent]
    assert places == sorted(set(places))
    spoken = [place for place in places if history[place].role != "system"]
    pinned = [n for n, message in enumerate(history) if message.role == "system"]
    start = spoken[0] if spoken else len(history)
    assert places == sorted({*range(start, len(history)), *pinned})
    assert start <= running_from(history) or not any(m.role != "system" for m in history[running_from(history) :])
    if len(sent) < len(history):
        assert history[start].role == "user"
    for first, last in pairs(history):
        assert (first in places) == (last in places)


@settings(deadline=None, max_examples=300)
@given(histories(), st.integers(1, 1500), st.booleans(), st.booleans())
def test_sliding_sends_a_valid_end_of_any_history_within_the_budget(
    history: list[Message], budget: int, with_system: bool, with_tools: bool
) -> None:
    """The running turn whole, no call without its result, as many whole turns as fit; else nothing is sent."""
    system, tools = SYSTEM if with_system else None, [TOOL] if with_tools else []
    fixed = estimate([system] if system else [], tools)
    before = copy.deepcopy(history)
    start = running_from(history)
    least = [message for n, message in enumerate(history) if n >= start or message.role == "system"]
    try:
        sent, summary = Truncation(budget, "sliding").fit(system, history, tools)
    except BudgetExceeded:
        assert fixed + estimate(least) > budget
        return
    assert summary is None
    assert fixed + estimate(sent) <= budget
    assert (fixed + estimate(history) <= budget) == (len(sent) == len(history))
    check_sent(history, sent)
    assert history == before


@settings(deadline=None, max_examples=200)
@given(histories(), st.integers(100, 1500), st.integers(1, 2000), st.booleans())
def test_summarize_sends_a_valid_end_of_any_history_and_at_most_one_summary(
    history: list[Message], budget: int, length: int, again: bool
) -> None:
    """Each message left out was summarised, once; the summary stands before the turns, and all is within the budget."""
    folded: list[Message] = []

    def summarise(messages: Sequence[Message], before: str) -> str:
        assert messages[0].role != "system"
        assert bool(before) == bool(folded) or budget < 200
        folded.extend(messages)
        return "x" * length

    truncation = Truncation(budget, "summarize")
    try:
        sent, summary = truncation.fit(SYSTEM, history, [], summarise=summarise)
        if again:
            assert truncation.fit(SYSTEM, history, [], summary=summary) == (sent, summary)
    except BudgetExceeded:
        return
    assert estimate([SYSTEM, *sent]) <= budget
    told = [message for message in sent if not any(message is each for each in history)]
    kept = [message for message in sent if any(message is each for each in history)]
    check_sent(history, kept)
    assert len(told) <= 1
    if summary is None:
        assert kept == history
        assert folded == told == []
        return
    assert [id(each) for each in folded] == [id(each) for each in history[: summary.upto] if each.role != "system"]
    if told:
        assert told[0].role == "user"
        assert told[0].text.startswith("Summary of the conversation so far:\n\nx")
        assert next(message for message in sent if message.role != "system") is told[0]
        assert estimate(told) <= budget


# Sliding and fail


def test_a_history_that_fits_is_sent_as_it_is_by_every_strategy() -> None:
    """Also one that begins with the model; nothing is called."""
    history = [answer("Welcome."), *dialogue(2), user("And now?")]

    def never(*_: Any) -> Any:
        raise AssertionError

    for strategy in (*STRATEGIES, never):
        sent, summary = Truncation(1000, strategy).fit(SYSTEM, history, [TOOL], summarise=never)
        assert (sent, summary) == (history, None)
        assert sent is not history


def test_sliding_drops_the_oldest_whole_turns_and_no_more_than_it_must() -> None:
    """Three turns of 28 and a word of 5 are 89: a token less in the budget, and the oldest turn goes."""
    history = [*dialogue(3), user("now")]
    for budget, kept in ((89, 7), (88, 5), (61, 5), (60, 3), (33, 3), (32, 1), (5, 1)):
        sent, _ = Truncation(budget, "sliding", count=words).fit(None, history)
        assert sent == history[-kept:]


def test_the_running_turn_is_kept_with_all_its_rounds() -> None:
    """From the user's last word on, calls, results, pauses and all."""
    running = [user("Find it."), call("a", "b"), result("a"), result("b"), answer("Wait."), call("c"), result("c")]
    sent, _ = Truncation(150, "sliding").fit(None, [*dialogue(5), *running])
    assert sent == running


def test_a_pair_that_spans_turns_keeps_them_together() -> None:
    """Where a result came after the user's next word, no turn begins at that word."""
    history = [user("one"), answer("1"), user("two"), call("a"), user("still there?"), result("a"), answer("yes")]
    assert Truncation(63, "sliding").fit(None, history)[0] == history[2:]
    with pytest.raises(BudgetExceeded):
        Truncation(62, "sliding").fit(None, history)


def test_messages_of_the_system_stay_where_turns_go() -> None:
    """They are instructions, and count."""
    rule = Message("system", "Answer in French.")
    history = [rule, *dialogue(4), Message("system", "Be polite."), *dialogue(1)]
    sent, _ = Truncation(43, "sliding", count=words).fit(None, history)
    assert sent == [rule, *history[-3:]]
    with pytest.raises(BudgetExceeded):
        Truncation(40, "sliding", count=words).fit(None, history)


def test_fail_raises_as_soon_as_the_whole_is_over_budget() -> None:
    """With the numbers, and what to do."""
    history = [*dialogue(2), user("Find it."), call("a"), result("a", content=WORD * 200)]
    with pytest.raises(BudgetExceeded) as caught:
        Truncation(300, count=words).fit(SYSTEM, history, [TOOL])
    assert str(caught.value) == (
        "The budget is 300 tokens, and the conversation needs about 326: 6 for the system prompt; 22 for the tools; "
        "298 for 7 messages, the largest part a result of the tool 'search' with 213. "
        "Give truncate='sliding' or 'summarize', or a larger budget."
    )
    assert Truncation(326, count=words).fit(SYSTEM, history, [TOOL]) == (history, None)


@pytest.mark.parametrize("strategy", [*STRATEGIES, lambda messages, room: messages])
def test_a_running_turn_that_is_too_long_alone_is_refused_by_every_strategy(strategy: Any) -> None:
    """Nothing is left out of what the user asks now."""
    history = [*dialogue(2), Message("user", [Text("What is it?"), Image(url="https://example.com/cat.png")])]
    with pytest.raises(BudgetExceeded) as caught:
        Truncation(1000, strategy).fit(SYSTEM, history, summarise=Summariser())
    assert str(caught.value) == (
        "The budget is 1,000 tokens, and this turn alone needs about 1,616: 8 for the system prompt; "
        "1,608 for 1 message, the largest part an image of the user with 1,600. Shorten it, or give a larger budget."
    )


def test_tools_and_system_prompt_alone_can_be_too_long() -> None:
    """Then no message fits."""
    tools = [ToolSpec(f"tool_{number}", WORD * 50) for number in range(20)]
    with pytest.raises(BudgetExceeded, match=r"1,\d\d\d for the tools; 5 for 1 message, the largest part a text"):
        Truncation(1000, "sliding").fit(None, [user("Hi")], tools)


def test_an_empty_history_fits() -> None:
    """There is nothing to leave out."""
    for strategy in STRATEGIES:
        assert Truncation(10, strategy).fit(None, []) == ([], None)


# Summaries


def test_the_oldest_turns_are_replaced_by_a_summary_of_them() -> None:
    """What is kept takes at most half of the room, so that there is place to grow into."""
    history, summarise = [*dialogue(8), user("now")], Summariser()
    sent, summary = Truncation(200, "summarize", count=words).fit(None, history, summarise=summarise)
    assert summary == Summary(10, "S1 word word")
    assert sent == [user("Summary of the conversation so far:\n\nS1 word word"), *history[10:]]
    assert summarise.asked == [(texts(history[:10]), "")]


def test_a_summary_is_used_again_until_there_is_no_place() -> None:
    """Only then the turns since it are folded into the next, and none twice."""
    history, summarise, truncation = dialogue(7), Summariser(), Truncation(200, "summarize", count=words)
    summary, begins = None, []
    for number in range(7, 17):
        history += dialogue(number + 1)[-2:]
        sent, summary = truncation.fit(None, history, summary=summary, summarise=summarise)
        assert summary is not None
        assert sent[1:] == history[summary.upto :]
        begins.append(summary.upto)
    assert begins == [10, 10, 10, 10, 18, 18, 18, 18, 26, 26]
    assert [before for _, before in summarise.asked] == ["", "S1 word word", "S2 word word"]
    assert [each for asked, _ in summarise.asked for each in asked] == texts(history[:26])


def test_a_long_history_is_summarised_in_pieces_that_fit() -> None:
    """Whoever summarises has no more room than there is; one turn is never parted."""
    history, summarise = [*dialogue(40), user("now")], Summariser()
    _, summary = Truncation(200, "summarize", count=words).fit(None, history, summarise=summarise)
    assert summary is not None
    assert [len(asked) for asked, _ in summarise.asked] == [10] * 7 + [4]
    assert [each for asked, _ in summarise.asked for each in asked] == texts(history[: summary.upto])


def test_a_summary_that_is_too_long_is_cut() -> None:
    """To a quarter of the room, and to less where the running turn needs it; what is remembered stays."""
    truncation, history = Truncation(200, "summarize", count=words), [*dialogue(9), user("now")]
    sent, summary = truncation.fit(None, history, summarise=Summariser(500))
    assert summary is not None
    assert estimate_of(sent[:1]) == 50
    long = [*history, call("a"), result("a", content=WORD * 120), answer("Wait.")]
    tight, same = truncation.fit(None, long, summary=Summary(18, summary.text))
    assert same == Summary(18, summary.text)
    assert tight[1:] == long[18:]
    assert 10 < estimate_of(tight[:1]) == 200 - estimate_of(tight[1:]) < 50


def test_where_no_summary_fits_none_is_sent_and_it_is_remembered() -> None:
    """The turns after a very long one have it again."""
    truncation, summary = Truncation(200, "summarize", count=words), Summary(4, "S word")
    history = [*dialogue(2), user(WORD * 190)]
    sent, same = truncation.fit(None, history, summary=summary)
    assert (sent, same) == (history[4:], summary)
    assert truncation.fit(None, [*history[:4], *dialogue(6)], summary=summary)[0][0].text.endswith("S word")


def estimate_of(messages: Sequence[Message]) -> int:
    """Count messages of plain text as ``words`` has it."""
    return sum(4 + sum(12 if part.type.startswith("tool") else 0 for part in m.parts) + body(m) for m in messages)


def body(message: Message) -> int:
    """Count the words of a message."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    calls = sum(words(each.name) + words(each.raw_arguments) for each in message.tool_calls)
    return words(message.text) + calls + sum(words(each.name) + words(each.content) for each in results)


@pytest.mark.parametrize("upto", [0, 3, 17, 18, 500])
def test_a_summary_that_does_not_stand_for_this_history_is_dropped(upto: int) -> None:
    """One of more than there is, of the running turn, or of half a turn; then all is summarised anew."""
    history, summarise = [*dialogue(8), user("now")], Summariser()
    sent, summary = Truncation(200, "summarize", count=words).fit(
        None, history, summary=Summary(upto, "stale"), summarise=summarise
    )
    assert summary == Summary(10, "S1 word word")
    assert [before for _, before in summarise.asked] == [""]
    assert "stale" not in sent[0].text
    short = Truncation(1000, "summarize").fit(None, history, summary=Summary(500, "stale"))
    assert short == (history, None)


def test_a_summary_outlives_turns_that_do_not_need_it() -> None:
    """Another strategy, or a larger budget for a while, does not forget it."""
    history, summary = [*dialogue(9), user("now")], Summary(12, "S")
    for truncation in (Truncation(1000, "summarize"), Truncation(100, "sliding", count=words)):
        assert truncation.fit(None, history, summary=summary)[1] == summary


def test_what_summarises_must_give_a_text() -> None:
    """And must be there; what it raises is raised."""
    truncation, history = Truncation(200, "summarize", count=words), [*dialogue(9), user("now")]
    with pytest.raises(ConfigError, match="give summarise="):
        truncation.fit(None, history)
    for nonsense in (None, "", "  \n", 7):
        with pytest.raises(ConfigError, match="summarise gave"):
            truncation.fit(None, history, summarise=lambda *_, nonsense=nonsense: nonsense)
    with pytest.raises(ZeroDivisionError):
        truncation.fit(None, history, summarise=lambda *_: 1 // 0)


def test_a_summary_is_read_back_from_its_dict() -> None:
    """As JSON keeps it; anything else is refused."""
    summary = Summary(12, "It rained.")
    assert Summary.from_dict(json.loads(json.dumps(summary.to_dict()))) == summary
    for data in ({}, {"upto": True, "text": ""}, {"upto": -1, "text": ""}, {"upto": 1, "text": None}, [], None):
        with pytest.raises(ValueError, match="a summary is a dict"):
            Summary.from_dict(data)


# Strategies of one's own


def test_a_strategy_of_ones_own_is_given_the_messages_and_the_room() -> None:
    """It may fold what it likes, once the history is too long; its list is its own."""
    seen = []

    def fold(messages: list[Message], room: int) -> Sequence[Message]:
        seen.append((list(messages), room))
        del messages[1:-1]
        return (user("It was long."), messages[-1])

    history = [*dialogue(3), user("now")]
    sent, _ = Truncation(80, fold, count=words).fit(SYSTEM, history)
    assert sent == [user("It was long."), user("now")]
    assert seen == [(history, 74)]
    assert len(history) == 7


def test_a_strategy_of_ones_own_may_shorten_results() -> None:
    """A result that says less is still the result of its call."""
    history = [user("Find it."), call("a"), result("a", content=WORD * 100), answer("Found."), user("now")]

    def shorten(messages: list[Message], room: int) -> list[Message]:
        return [*messages[:2], result("a", content="…"), *messages[3:]]

    sent, _ = Truncation(80, shorten, count=words).fit(None, history)
    assert sent == [*history[:2], result("a", content="…"), *history[3:]]


TOOLS = [user("Find it."), call("a", "b"), result("a", "b", content=WORD * 40), answer("Found."), user("now")]


@pytest.mark.parametrize(
    ("give", "why"),
    [
        (lambda m, room: None, "it gives a NoneType; give a list of messages"),
        (lambda m, room: "text", "it gives a str; give a list of messages"),
        (lambda m, room: (x for x in m), "it gives a generator; give a list of messages"),
        (lambda m, room: ["text", m[-1]], "[0] of what it gives is a str; give Messages"),
        (lambda m, room: [], "what it gives does not end with the running turn, the last 1 of the messages"),
        (lambda m, room: m[:-1], "what it gives does not end with the running turn, the last 1 of the messages"),
        (lambda m, room: m[-2:], "what it gives begins with a message of the role 'assistant'; begin with one of the"),
        (lambda m, room: m[2:], "what it gives begins with a message of the role 'tool'; begin with one of the user"),
        (lambda m, room: [m[0], m[2], m[-1]], "the result of the call 'a' is without its call"),
        (lambda m, room: [m[0], m[2], m[1], m[-1]], "the result of the call 'a' is without its call"),
        (lambda m, room: [m[0], m[1], m[-1]], "the call 'a' is without its result"),
        (lambda m, room: [m[0], m[1], result("b"), m[-1]], "the call 'a' is without its result"),
        (lambda m, room: m, "what it gives takes about 160 tokens, and there is room for 100"),
    ],
)
def test_what_a_strategy_of_ones_own_gives_is_checked(give: Any, why: str) -> None:
    """The provider would refuse it, or it would be too long; the error says what is wrong, and in what."""
    with pytest.raises(ConfigError) as caught:
        Truncation(100, give, count=words).fit(None, TOOLS)
    assert why in str(caught.value)
    assert str(caught.value).startswith("The truncation strategy ")
    assert "<lambda>" in str(caught.value)


def test_calls_that_were_never_answered_may_stay_so() -> None:
    """A strategy is not to blame for what the history lacks already."""
    history = [user(WORD * 90), user("Find it."), call("a"), user("now")]
    sent, _ = Truncation(60, lambda m, room: m[1:], count=words).fit(None, history)
    assert sent == history[1:]


# Settings


@pytest.mark.parametrize("budget", [True, "1000", 1e3, None])
def test_a_budget_is_a_whole_number(budget: Any) -> None:
    """Anything else is a mistake of type."""
    with pytest.raises(TypeError, match="give a whole number of tokens"):
        Truncation(budget)


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_is_above_0(budget: int) -> None:
    """Nothing fits into none."""
    with pytest.raises(ConfigError, match="above 0"):
        Truncation(budget)


def test_a_strategy_that_is_not_known_is_refused_with_the_nearest() -> None:
    """And what is no strategy at all as a mistake of type."""
    with pytest.raises(ConfigError) as caught:
        Truncation(1000, "summarise")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "truncate='summarise' is not known. Did you mean 'summarize'? "
        "Give one of 'sliding', 'summarize', 'fail', or a callable."
    )
    with pytest.raises(TypeError, match="truncate=3"):
        Truncation(1000, 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="count=3"):
        Truncation(1000, count=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [None, -1, 1.5, True])
def test_a_count_that_gives_nonsense_is_refused(number: Any) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigError, match="count gave"):
        Truncation(1000, count=lambda text: number).fit(None, [user("Hi")])


def test_a_text_is_counted_once_however_often_its_history_is_sent() -> None:
    """A real tokenizer is slow."""
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return 1

    truncation, history = Truncation(1000, "sliding", count=count), dialogue(3)
    for _ in range(3):
        truncation.fit(None, history)
    history.append(user("now"))
    truncation.fit(None, history)
    assert counted == [message.text for message in history]


# The estimate


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("The quick brown fox jumps over the lazy dog.", 12),
        ('{"city":"Paris","unit":"celsius"}', 15),
        ("3.14159265", 7),
        ("Комитет", 5),
        ("今日は", 5),
        ("😀", 3),
        ("\ud83d", 2),
    ],
)
def test_texts_are_estimated_by_what_they_are_written_in(text: str, tokens: int) -> None:
    """Words are cheap; digits, capitals, punctuation and other scripts are not."""
    assert estimate([user(text)]) == 4 + tokens


def test_every_part_counts() -> None:
    """Thoughts, calls, results, pictures, documents, what a provider wants echoed, tools and their schemas."""
    parts = [
        (Text("abcd" * 10), 10),
        (Text("abcd" * 10, {"p": "x" * 191}), 60),
        (Reasoning("abcd" * 10), 10),
        (Reasoning("", {"p": "x" * 391}), 100),
        (Image(url="https://example.com/a.png"), 1600),
        (ToolCall("c", "abcd", None, "abcd" * 10), 23),
        (ToolCall("c", "abcd", {"abcdefgh": "abcd" * 10}), 30),
        (ToolResult("c", "abcd", "abcd" * 10), 23),
        (Document(url="https://example.com/a.pdf"), 8000),
        (Document(data=b"abcd" * 10, media_type="text/plain"), 10),
        (Document(data=b"%PDF-1.4 " + b"/Type /Page /Type/Page /Type /Pages" + bytes(90_000)), 4000),
        (Document(data=b"%PDF-1.7 " + bytes(90_000)), 10_000),
    ]
    for part, tokens in parts:
        assert estimate([Message("assistant", part)]) == 4 + tokens, part
    every = [Message("assistant", [part for part, _ in parts])]
    assert estimate(every) == 4 + sum(tokens for _, tokens in parts)
    assert estimate([], [ToolSpec("abcd", "abcd" * 10, {})]) == 12 + 1 + 10 + 2
    assert estimate(every, [TOOL]) > estimate(every)


@given(st.text(alphabet=st.characters(max_codepoint=0x10FFFF)), st.text())
def test_the_estimate_grows_with_the_text(one: str, other: str) -> None:
    """So that a part never takes more than the whole, nor two parts much more."""
    both = estimate([user(one + other)])
    assert max(estimate([user(one)]), estimate([user(other)])) <= both
    assert both <= estimate([user(one)]) + estimate([user(other)]) - 4
