"""An OpenAI model's name in, what it refuses out (the table of the reasoning guide)."""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

from promptstream.providers.parameters import portable_id
from promptstream.values.effort import LEVELS

_SAMPLING = frozenset({"temperature", "top_p"})
_PENALTIES = frozenset({"frequency_penalty", "presence_penalty"})
_O_SERIES = re.compile(r"^o(\d+)(?:-|$)")
_CLASSIC = re.compile(r"^(gpt-3|gpt-4|chatgpt-)")  # gpt-3 is also what Azure calls gpt-35-turbo
_GPT = re.compile(r"^gpt-(\d+)(?:\.(\d+))?(?:-(.+))?$")
_CHAT = re.compile(r"^(gpt-\d(?!.*instruct)|chatgpt-|o\d+(?:-|$))")
_SEARCH = re.compile(r"-search-preview(-\d|$)")
_LONGEST_ID = 40


def call_id(given: str) -> str:
    """Give a tool call's id as OpenAI takes it: of letters, digits, _ and -, at most 40."""
    return portable_id(given, _LONGEST_ID)


def any_id(given: str) -> str:
    """Give a tool call's id as it is: the server's own ids may be of any form, and only a missing one is refused."""
    return given or portable_id(given)


@attrs.frozen
class Rules:
    """Say how a model wants to be asked."""

    refused: frozenset[str] = frozenset()
    """Parameters that are left out, with a warning."""
    refused_while_reasoning: frozenset[str] = frozenset()
    """Parameters that are left out unless the effort is "none"."""
    reasons_by_default: bool = False
    limit: str = "max_completion_tokens"
    system: str = "system"
    """The role in which the system prompt is sent; "user" where the model takes no other."""
    chat_only: bool = False
    """True where it is known to have no text completions."""
    of_completion: frozenset[str] = frozenset()
    """Parameters of a chat that a text completion takes as well."""
    usage_asked: bool = True
    """False where the usage is streamed unasked."""
    document_urls: bool = False
    """True where a document may be given by its address."""
    call_id: Callable[[str], str] = call_id
    """Gives a tool call's id, which may come from another provider, as this one takes it."""
    thinks: bool | None = None
    """Whether it takes an effort and gives reasoning items; None where that is not known."""
    refused_efforts: frozenset[str] = frozenset()
    """Levels of effort that it certainly lacks."""


def rules_for(model: str) -> Rules:
    """Give the rules of one of OpenAI's models; unknown names keep the classic behaviour.

    What stands around the name does not count: "openai/" at a gateway, "ft:" and ":acme::id" of a fine-tuned one.
    """
    model = model.rpartition("/")[2].removeprefix("ft:").partition(":")[0]
    lacks, chat_only = frozenset({"top_k"}), _CHAT.match(model) is not None
    if series := _O_SERIES.match(model):
        stop = frozenset({"stop"}) if int(series[1]) >= 3 else frozenset()
        first = model.startswith(("o1-mini", "o1-preview"))  # these take neither a system prompt nor an effort
        return Rules(
            lacks | _SAMPLING | _PENALTIES | stop | {"parallel_tools"},
            system="user" if first else "developer",
            chat_only=chat_only,
            thinks=True,
            refused_efforts=frozenset(LEVELS) if first else frozenset(LEVELS) - {"low", "medium", "high"},
        )
    gpt = None if _CLASSIC.match(model) else _GPT.match(model)
    if gpt and int(gpt[1]) >= 5 and not (gpt[3] or "").startswith("chat"):
        version = (int(gpt[1]), int(gpt[2] or 0))
        never_samples = version == (5, 0)
        return Rules(
            lacks | _PENALTIES | {"stop"} | (_SAMPLING if never_samples else frozenset()),
            refused_while_reasoning=_SAMPLING,
            reasons_by_default=never_samples or version >= (5, 5),
            system="developer",
            chat_only=chat_only,
            thinks=True,
            refused_efforts=_refused_efforts(version),
        )
    thinks = False if gpt or _CLASSIC.match(model) else None
    if _SEARCH.search(model):
        lacks |= {"temperature"}
    return Rules(lacks, chat_only=chat_only, thinks=thinks)


def _refused_efforts(version: tuple[int, int]) -> frozenset[str]:
    if version == (5, 0):
        return frozenset({"none", "xhigh", "max"})
    if version < (5, 5):
        return frozenset({"max"})
    return frozenset({"minimal"}) if version >= (5, 6) else frozenset()
