"""What is said: messages and the parts they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike, fspath
from os.path import basename
from typing import Any, ClassVar

import attrs

from promptstream.values.media import media_type, read_data_url

ROLES = ("system", "user", "assistant", "tool")


def _read_file(path: str | PathLike[str]) -> tuple[bytes, str | None]:
    with open(path, "rb") as file:
        data = file.read()
    return data, media_type(data, fspath(path))


def _unfold_data_url(part: Image | Document) -> None:
    """Turn a ``data:`` address into the bytes it is: most providers want those by themselves."""
    if part.url is not None and part.url.startswith("data:"):
        data, kind = read_data_url(part.url)
        for name, value in (("url", None), ("data", data), ("media_type", part.media_type or kind)):
            object.__setattr__(part, name, value)  # frozen from here on


@attrs.frozen
class Text:
    """Carry plain text."""

    type: ClassVar[str] = "text"
    text: str
    metadata: Mapping[str, Any] | None = None
    """Opaque provider data, keyed by provider, echoed back in the next turn."""


@attrs.frozen
class Reasoning:
    """Carry what the model thought before it answered."""

    type: ClassVar[str] = "reasoning"
    text: str
    metadata: Mapping[str, Any] | None = None


@attrs.frozen
class Image:
    """Carry an image, by URL or as bytes with its media type."""

    type: ClassVar[str] = "image"
    url: str | None = None
    data: bytes | None = attrs.field(default=None, repr=lambda data: f"<{len(data)} bytes>" if data else "None")
    media_type: str | None = None
    detail: str | None = None
    metadata: Mapping[str, Any] | None = None

    def __attrs_post_init__(self) -> None:
        _unfold_data_url(self)

    @classmethod
    def from_file(cls, path: str | PathLike[str], *, detail: str | None = None) -> Image:
        """Read an image from a file; its media type is told by what the file begins with.

        Raises:
            OSError: the file cannot be read.
            ValueError: it holds no image.
        """
        data, kind = _read_file(path)
        if not (kind or "").startswith("image/"):
            raise ValueError(f"{fspath(path)} holds no image that is known here ({kind or 'unknown type'}).")
        return cls(data=data, media_type=kind, detail=detail)


@attrs.frozen
class Document:
    """Carry a document (PDF, plain text), by URL or as bytes with its media type."""

    type: ClassVar[str] = "document"
    url: str | None = None
    data: bytes | None = attrs.field(default=None, repr=lambda data: f"<{len(data)} bytes>" if data else "None")
    media_type: str | None = None
    name: str | None = None
    metadata: Mapping[str, Any] | None = None

    def __attrs_post_init__(self) -> None:
        _unfold_data_url(self)

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> Document:
        """Read a document from a file and keep its name.

        Raises:
            OSError: the file cannot be read.
        """
        data, kind = _read_file(path)
        return cls(data=data, media_type=kind, name=basename(fspath(path)))


@attrs.frozen
class ToolCall:
    """Ask for a tool to be run."""

    type: ClassVar[str] = "tool_call"
    id: str
    name: str
    arguments: dict[str, Any] | None = None
    """The parsed arguments, or None where they are not one whole JSON object."""
    raw_arguments: str = ""
    """The arguments as the provider wrote them."""
    problem: str | None = None
    """None, or why the call cannot run."""
    metadata: Mapping[str, Any] | None = None


@attrs.frozen
class ToolResult:
    """Answer a tool call."""

    type: ClassVar[str] = "tool_result"
    call_id: str
    name: str
    content: str
    error: bool = False
    metadata: Mapping[str, Any] | None = None


Part = Text | Reasoning | Image | Document | ToolCall | ToolResult
_PART_TYPES = (Text, Reasoning, Image, Document, ToolCall, ToolResult)
PARTS: dict[str, type[Part]] = {part.type: part for part in _PART_TYPES}


def _parts(value: str | Part | Iterable[str | Part]) -> tuple[Part, ...]:
    if isinstance(value, str):
        return (Text(value),) if value else ()
    if isinstance(value, _PART_TYPES):
        return (value,)
    if isinstance(value, Mapping):
        raise TypeError(f"{dict(value)!r:.80} is not a part of a message; promptstream.Message.from_dict reads dicts.")
    return tuple(_part(part) for part in value)


def _part(value: object) -> Part:
    if isinstance(value, str):
        return Text(value)
    if isinstance(value, _PART_TYPES):
        return value
    names = ", ".join(part.__name__ for part in _PART_TYPES)
    raise TypeError(f"{value!r:.80} is not a part of a message; give a string or one of {names}.")


def _role(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if value not in ROLES:
        raise ValueError(f"role is {value!r}; it is one of {', '.join(ROLES)}.")


@attrs.frozen
class Message:
    """Say something in a role: ``Message("user", "Hello")``.

    *parts* takes a string, one part, or several.
    """

    role: str = attrs.field(validator=_role)
    parts: tuple[Part, ...] = attrs.field(default=(), converter=_parts)
    finish_reason: str | None = None
    """Of an assistant's message: why it ended; ``cancelled`` and ``failed`` mark a partial one."""

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join([part.text for part in self.parts if isinstance(part, Text)])

    @property
    def reasoning(self) -> str:
        """The reasoning parts, joined."""
        return "".join([part.text for part in self.parts if isinstance(part, Reasoning)])

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-safe dict that :meth:`from_dict` reads back without loss."""
        data: dict[str, Any] = {"role": self.role, "parts": [part_to_dict(part) for part in self.parts]}
        if self.finish_reason is not None:
            data["finish_reason"] = self.finish_reason
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Message:
        """Build from :meth:`to_dict`, or from a plain ``{"role", "content"}``.

        Raises:
            ValueError: the dict is neither; the text says which key is wrong.
        """
        if not isinstance(data, Mapping) or "role" not in data:
            raise ValueError(f"a message is a dict with 'role' and 'content', not {data!r:.80}.")
        try:
            if "parts" in data:
                return cls(data["role"], [part_from_dict(part) for part in data["parts"]], data.get("finish_reason"))
            return _from_plain(data)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"a message cannot be read ({type(error).__name__}: {error}): {data!r:.80}") from None


def part_to_dict(part: Part) -> dict[str, Any]:
    """Give a part as a JSON-safe dict: its type, what is set, bytes as base64."""
    from base64 import b64encode

    data: dict[str, Any] = {"type": part.type}
    for field in attrs.fields(type(part)):
        value = getattr(part, field.name)
        if value is None or (field.default is not attrs.NOTHING and value == field.default):
            continue
        data[field.name] = b64encode(value).decode() if isinstance(value, bytes) else value
    return data


def part_from_dict(data: Mapping[str, Any]) -> Part:
    """Build a part from what :func:`part_to_dict` gave.

    Raises:
        ValueError: the type is not one of a part's, or a field is unknown or missing.
    """
    fields = dict(data)
    kind = fields.pop("type", None)
    if kind not in PARTS:
        raise ValueError(f"a part's type is {kind!r}; it is one of {', '.join(PARTS)}.")
    if isinstance(fields.get("data"), str):
        from base64 import b64decode

        fields["data"] = b64decode(fields["data"])
    try:
        return PARTS[kind](**fields)
    except TypeError as error:
        raise ValueError(f"a {kind} part cannot be read: {error}") from None


_PLAIN_KEYS = {"role", "content", "name", "tool_call_id", "tool_calls", "refusal", "reasoning_content", "reasoning"}


def _from_plain(data: Mapping[str, Any]) -> Message:
    """Read a Chat Completions message, the shape that most code has at hand."""
    # What is empty says nothing: vendors' own messages carry many such keys.
    if unknown := sorted(key for key in set(data) - _PLAIN_KEYS if data[key] not in (None, [], {}, "")):
        raise ValueError(f"a plain message has 'role' and 'content'; {unknown[0]!r} is not understood.")
    content = data.get("content")
    if data["role"] == "tool":
        if not isinstance(content, str):
            raise ValueError("a tool message's 'content' is a string.")
        return Message("tool", ToolResult(data.get("tool_call_id", ""), data.get("name", ""), content))
    if isinstance(content, Mapping):
        raise ValueError("a message's 'content' is a string or a list of parts, not a dict.")
    parts: list[Part] = list(_parts(content)) if isinstance(content, str) else [_plain_part(p) for p in content or ()]
    if thoughts := data.get("reasoning_content") or data.get("reasoning"):
        parts.insert(0, Reasoning(thoughts))
    if refusal := data.get("refusal"):
        parts.append(Text(refusal))
    for call in data.get("tool_calls") or ():
        parts.append(_plain_call(call))
    return Message("system" if data["role"] == "developer" else data["role"], parts)


def _plain_part(part: Any) -> Part:
    if not isinstance(part, Mapping):
        return _part(part)
    kind = part.get("type")
    if kind == "text":
        return Text(part["text"])
    if kind == "image_url":
        image = part["image_url"]
        return Image(url=image) if isinstance(image, str) else Image(url=image["url"], detail=image.get("detail"))
    if kind in PARTS:
        return part_from_dict(part)
    raise ValueError(
        f"a content part of type {kind!r} is not understood; give text, image_url or promptstream's parts."
    )


def _plain_call(call: Mapping[str, Any]) -> ToolCall:
    import json  # rare: only when a history comes as plain dicts

    function = call.get("function", {})
    raw = function.get("arguments") or "{}"
    try:
        arguments = json.loads(raw)
    except ValueError:
        arguments = None
    problem = None if isinstance(arguments, dict) else "the arguments are not one JSON object"
    return ToolCall(call.get("id", ""), function.get("name", ""), arguments if problem is None else None, raw, problem)
