"""Two requests in, what differs between them out: the one that was recorded, and the one that is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from promptstream.errors import ConfigError
from promptstream.recording.masking import Masker
from promptstream.values.message import part_to_dict
from promptstream.values.names import nearest
from promptstream.values.request import ChatRequest
from promptstream.values.secret import MASK

FIELDS = ("model", "messages", "prompt", "tools", "parameters", "extra", "streaming", "provider")
"""What of a request can be compared."""
COMPARED = ("model", "messages", "prompt", "tools", "parameters", "extra")
ORDER = "order"
_SHOWN = 6
"""Differences that are told; of more, how many there are."""
_LEAD, _WIDTH = 24, 72
"""Characters shown before a difference, and in all."""
_ABSENT = object()
Match = tuple[str, ...]


def request_to_dict(request: ChatRequest, masker: Masker) -> dict[str, Any]:
    """Give a request as JSON has it, without secrets; pictures and documents by their digest."""
    asked: dict[str, Any] = {
        "provider": request.provider,
        "model": request.model,
        "round": request.round,
        "streaming": request.streaming,
        "messages": [
            {"role": message.role, "parts": [_part(part) for part in message.parts]} for message in request.messages
        ],
    }
    if request.models:
        asked["models"] = list(request.models)
    if request.prompt is not None:
        asked["prompt"] = request.prompt
    if request.tools:
        asked["tools"] = [attrs.asdict(tool, recurse=False) for tool in request.tools]
    for name in ("parameters", "extra"):
        if getattr(request, name):
            asked[name] = getattr(request, name)
    extra = {"extra": masker.value(asked.pop("extra"), hidden=True)} if "extra" in asked else {}
    return {**masker.value(asked), **extra}


def _part(part: Any) -> dict[str, Any]:
    data = part_to_dict(part)
    if "data" in data:
        data["data"] = part.data  # the bytes themselves, for their digest
    return data


def check_match(match: str | Iterable[str]) -> Match | None:
    """Give the fields that ``match=`` compares; None for "order".

    Raises:
        ConfigError: one is not of a request's.
    """
    if match == ORDER:
        return None
    fields = (match,) if isinstance(match, str) else tuple(match)
    for field in fields:
        if field not in FIELDS:
            known = (ORDER, *FIELDS)
            raise ConfigError(f"match={field!r:.60}: give 'order', or some of {', '.join(FIELDS)}."
                              f"{nearest(str(field), known)}")  # fmt: skip
    if not fields:
        raise ConfigError(f"match=(): give 'order', or some of {', '.join(FIELDS)}.")
    return fields


@attrs.frozen
class Difference:
    """Say where two requests differ, and what each has there; None is nothing."""

    where: str
    recorded: str | None
    asked: str | None

    @property
    def parted(self) -> int:
        """How many characters both have in common at the beginning."""
        both = zip(self.recorded or "", self.asked or "", strict=False)
        shorter = min(len(self.recorded or ""), len(self.asked or ""))
        return next((at for at, (one, other) in enumerate(both) if one != other), shorter)

    def lines(self) -> list[str]:
        """Give it for a person to read: long texts from shortly before they part."""
        return [
            f"  {self.where}",
            f"    recorded: {_clipped(self.recorded, self.parted)}",
            f"    asked:    {_clipped(self.asked, self.parted)}",
        ]


def _clipped(text: str | None, parted: int) -> str:
    if text is None:
        return "(nothing)"
    start = max(0, parted - _LEAD) if parted > _LEAD + 8 else 0
    shown = text[start : start + _WIDTH]
    return f"{'…' if start else ''}{shown!r}{'…' if start + _WIDTH < len(text) else ''}"


def told(differences: Sequence[Difference]) -> str:
    """Give differences as lines, the first few of many."""
    lines = [line for each in differences[:_SHOWN] for line in each.lines()]
    more = len(differences) - _SHOWN
    return "\n".join([*lines, *([f"  and {more} more"] if more > 0 else [])])


def differences(
    recorded: Mapping[str, Any], asked: Mapping[str, Any], fields: Match, masker: Masker
) -> list[Difference]:
    """Give what differs in *fields*, in the order of the request; ids of calls count by their order alone."""
    one, other = (_flat(_normal(each, fields, masker)) for each in (recorded, asked))
    found = []
    for where in [*one, *(name for name in other if name not in one)]:
        a, b = one.get(where, _ABSENT), other.get(where, _ABSENT)
        if not _same(a, b):
            found.append(Difference(where, _shown(a), _shown(b)))
    if "model" in fields and "" in (recorded.get("model"), asked.get("model")):  # it was left to the provider
        found = [each for each in found if each.where != "model"]
    return found


def _shown(value: Any) -> str | None:
    return None if value is _ABSENT else value if isinstance(value, str) else repr(value)


def _same(recorded: Any, asked: Any) -> bool:
    if recorded == asked:
        return type(recorded) is type(asked) or not isinstance(True, (type(recorded), type(asked)))
    if isinstance(recorded, str) and isinstance(asked, str) and MASK in recorded:  # a key, which is not recorded
        pattern = ".+".join(map(re.escape, recorded.split(MASK)))
        return re.fullmatch(pattern, asked, re.DOTALL) is not None
    return False


def _normal(request: Mapping[str, Any], fields: Match, masker: Masker) -> dict[str, Any]:
    """Give what of a request is compared: what the provider only wants back is not."""
    normal: dict[str, Any] = {field: request[field] for field in fields if field in request and field != "messages"}
    if "tools" in normal:
        normal["tools"] = {tool["name"]: tool for tool in normal["tools"]}
    normal = masker.value(normal)
    if "messages" in fields:
        ids: dict[str, str] = {}
        for number, message in enumerate(request.get("messages", ())):
            parts = [_said(part, ids) for part in message["parts"] if part.get("type") != "reasoning"]
            normal[f"messages[{number}] {message['role']}"] = masker.value(_joined(parts))
    return normal


def _joined(parts: list[Any]) -> Any:
    """Give a message's parts, those of text as one string; the string itself where there is nothing else."""
    texts = "".join(part for part in parts if isinstance(part, str))
    others = {f"[{number}]": part for number, part in enumerate(part for part in parts if not isinstance(part, str))}
    return {"": texts, **others} if others else texts


def _said(part: Mapping[str, Any], ids: dict[str, str]) -> Any:
    if part.get("type") == "text":
        return part["text"]
    kept = {name: value for name, value in part.items() if name not in ("metadata", "problem", "raw_arguments")}
    if part.get("arguments") is None and "raw_arguments" in part:
        kept["raw_arguments"] = part["raw_arguments"]
    for name in {"id", "call_id"} & kept.keys():
        kept[name] = ids.setdefault(str(kept[name]), f"call {len(ids) + 1}")
    return kept


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Give a value's leaves by their paths."""
    if isinstance(value, Mapping) and value:
        return {
            where: leaf
            for name, each in value.items()
            for where, leaf in _flat(
                each, f"{path}.{name}" if path and name and name[0] != "[" else path + name
            ).items()
        }
    if isinstance(value, list) and value:
        return {where: leaf for at, each in enumerate(value) for where, leaf in _flat(each, f"{path}[{at}]").items()}
    return {path: value}
