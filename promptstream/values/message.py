"""What is said: messages and the parts they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike, fspath
from os.path import basename
from typing import Any, ClassVar

import attrs

from promptstream.values.media import is_data_url, media_type, read_data_url

ROLES = ("system", "user", "assistant", "tool")


def _read_file(path: str | PathLike[str]) -> tuple[bytes, str | None]:
    with open(path, "rb") as file:
        data = file.read()
    return data, media_type(data, fspath(path))


def _string(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{type(instance).__name__}.{attribute.name} is {value!r:.80}; give a string.")


def _address(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        _string(instance, attribute, value)


def _bytes(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, (bytes, type(None))):
        raise TypeError(f"{type(instance).__name__}.data is a {type(value).__name__}; give bytes, or a data: address.")


def _as_bytes(value: Any) -> Any:
    return bytes(value) if isinstance(value, (bytearray, memoryview)) else value


def _sized(data: bytes | None) -> str:
    return "None" if data is None else f"<{len(data)} bytes>"


def _unfold_data_url(part: Image | Document) -> None:
    """Turn a ``data:`` address into the bytes it is: most providers want those by themselves."""
    if part.url is not None and is_data_url(part.url):
        data, kind = read_data_url(part.url)
        for name, value in (("url", None), ("data", data), ("media_type", part.media_type or kind)):
            object.__setattr__(part, name, value)  # frozen from here on


@attrs.frozen
class Text:
    """Carry plain text."""

    type: ClassVar[str] = "text"
    text: str = attrs.field(validator=_string)
    metadata: Mapping[str, Any] | None = None
    """Opaque provider data, keyed by provider, echoed back in the next turn."""


@attrs.frozen
class Reasoning:
    """Carry what the model thought before it answered."""

    type: ClassVar[str] = "reasoning"
    text: str = attrs.field(validator=_string)
    metadata: Mapping[str, Any] | None = None


@attrs.frozen
class Image:
    """Carry an image, by URL or as bytes with its media type."""

    type: ClassVar[str] = "image"
    url: str | None = attrs.field(default=None, validator=_address)
    data: bytes | None = attrs.field(default=None, converter=_as_bytes, validator=_bytes, repr=_sized)
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
    url: str | None = attrs.field(default=None, validator=_address)
    data: bytes | None = attrs.field(default=None, converter=_as_bytes, validator=_bytes, repr=_sized)
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

    def __str__(self) -> str:
        """Give the call as a person reads it: ``look_up(city='Oslo')``, whole."""
        if self.arguments is None:
            return f"{self.name}({self.raw_arguments})"
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


@attrs.frozen
class ToolResult:
    """Answer a tool call."""

    type: ClassVar[str] = "tool_result"
    call_id: str = attrs.field(validator=_string)
    name: str = attrs.field(validator=_string)
    content: str = attrs.field(validator=_string)
    error: bool = False
    metadata: Mapping[str, Any] | None = None


Part = Text | Reasoning | Image | Document | ToolCall | ToolResult
PART_TYPES = (Text, Reasoning, Image, Document, ToolCall, ToolResult)
PARTS: dict[str, type[Part]] = {part.type: part for part in PART_TYPES}


def _parts(value: str | Part | Iterable[str | Part]) -> tuple[Part, ...]:
    if isinstance(value, str):
        return (Text(value),) if value else ()
    if isinstance(value, PART_TYPES):
        return (value,)
    if isinstance(value, Mapping):
        raise TypeError(f"{dict(value)!r:.80} is not a part of a message; promptstream.Message.from_dict reads dicts.")
    return tuple(_part(part) for part in value)


def _part(value: object) -> Part:
    if isinstance(value, str):
        return Text(value)
    if isinstance(value, PART_TYPES):
        return value
    names = ", ".join(part.__name__ for part in PART_TYPES)
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
            from promptstream.values.plain import read_plain  # which imports the values here

            return read_plain(data)
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

        fields["data"] = b64decode(fields["data"], validate=True)
    try:
        part = PARTS[kind](**fields)
    except TypeError as error:
        raise ValueError(f"a part of type {kind} cannot be read: {error}") from None
    if isinstance(part, ToolCall):
        _check_call(part)
    return part


def _check_call(call: ToolCall) -> None:
    # Here and not by validators, which a call would run again for every delta of its arguments.
    if not all(isinstance(text, str) for text in (call.id, call.name, call.raw_arguments)):
        raise ValueError("a tool call's id, name and raw_arguments are strings.")
    if not isinstance(call.arguments, (dict, type(None))):
        raise ValueError(f"a tool call's arguments are a dict or None, not {call.arguments!r:.80}.")
