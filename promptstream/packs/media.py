"""A prompt's ``media`` goes in; limits come out, against which the attachments of a message are held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from promptstream.errors import ConfigError
from promptstream.packs.finding import Findings, shown, similar, step
from promptstream.packs.flow import escapes
from promptstream.packs.shape import FLAG, TEXT, Shape, measure
from promptstream.values.media import media_type
from promptstream.values.message import Document, Image, Part, Text

_MEBIBYTE = 1024 * 1024
_TYPE = (r"[a-z0-9_]+", "lower-case letters, digits and _")
_AT_LEAST_ONE = Shape("whole number", low=1, fatal=True)
_TYPES = Shape("array", each=Shape("string", form=_TYPE, fatal=True), fatal=True)
_FORMATS = Shape("array", each=Shape("string", fatal=True), fatal=True)
_DETAIL = Shape("string", choices=("low", "high", "auto"))
_COMMON = {"max_size_mb": _AT_LEAST_ONE, "allowed_formats": _FORMATS}
_TIMED = {**_COMMON, "max_duration_sec": _AT_LEAST_ONE, "require_metadata": FLAG}
_KINDS: Mapping[str, Mapping[str, Shape]] = {
    "image": {
        **_COMMON,
        "default_detail": _DETAIL,
        "require_caption": FLAG,
        "max_images_per_msg": _AT_LEAST_ONE,
    },
    "audio": _TIMED,
    "video": _TIMED,
    "document": {
        **_COMMON,
        "max_pages": _AT_LEAST_ONE,
        "require_metadata": FLAG,
        "extraction_mode": Shape("string", choices=("text", "structured", "raw")),
    },
}
_OTHER = {**_COMMON, "require_metadata": FLAG, "validation_params": Shape("object")}
_KNOWN_FORMATS = {
    "image": ("jpeg", "jpg", "png", "webp", "gif", "bmp"),
    "audio": ("mp3", "wav", "opus", "flac", "m4a", "aac", "ogg"),
    "video": ("mp4", "webm", "mov", "avi", "mkv"),
}
_EXAMPLE = Shape(
    "object",
    needed=("name", "role", "parts"),
    keys={
        "name": TEXT,
        "description": TEXT,
        "role": Shape("string", choices=("user", "assistant", "system")),
        "parts": Shape(
            "array",
            filled=True,
            each=Shape(
                "object",
                needed=("type",),
                keys={
                    "type": Shape("string", form=_TYPE),
                    "text": TEXT,
                    "media": Shape(
                        "object",
                        needed=("mime_type",),
                        keys={
                            "file_path": TEXT,
                            "url": TEXT,
                            "base64": TEXT,
                            "mime_type": TEXT,
                            "detail": _DETAIL,
                            "caption": TEXT,
                        },
                    ),
                },
            ),
        ),
    },
)
# What a format is called in packs, where its media type has another word for it.
_CALLED = {
    "jpg": "jpeg",
    "plain": "txt",
    "text": "txt",
    "markdown": "md",
    "x-markdown": "md",
    "htm": "html",
    "tif": "tiff",
    "heif": "heic",
    "svg+xml": "svg",
    "msword": "doc",
    "vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
}


@attrs.frozen
class MediaLimits:
    """Say which attachments a prompt takes."""

    enabled: bool = False
    supported_types: tuple[str, ...] | None = None
    """Such as "image" and "document"; None is all."""
    limits: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    """By type: max_size_mb (of 1,048,576 bytes), allowed_formats, max_images_per_msg and what else the pack says."""

    def applied(self, parts: Iterable[Part]) -> tuple[Part, ...]:
        """Give *parts* with the prompt's detail for the images that say none. Any thread may call it."""
        detail = self.limits.get("image", {}).get("default_detail")
        if detail is None:
            return tuple(parts)
        return tuple(
            attrs.evolve(each, detail=detail) if isinstance(each, Image) and each.detail is None else each
            for each in parts
        )

    def check(self, parts: Iterable[Part]) -> None:
        """Hold the images and documents of one message against the limits, as far as size and format are known.

        Any thread may call it.

        Raises:
            ConfigError: one of them is not taken; all reasons are told.
        """
        parts = list(parts)
        attached = [each for each in parts if isinstance(each, (Image, Document))]
        if not attached:
            return
        problems = [
            f"attachment {place}: {each}" for place, part in enumerate(attached, 1) for each in self._wrong(part)
        ]
        most = self.limits.get("image", {}).get("max_images_per_msg")
        images = sum(isinstance(each, Image) for each in attached)
        if most is not None and images > most:
            problems.append(f"there are {images} images, and a message may have {most}")
        captioned = any(isinstance(each, Text) and each.text.strip() for each in parts)
        if images and not captioned and self.limits.get("image", {}).get("require_caption") is True:
            problems.append("an image needs a text beside it (media.image.require_caption)")
        if problems:
            raise ConfigError(f"The prompt does not take this message: {'; '.join(problems[:5])}.")

    def _wrong(self, part: Image | Document) -> Iterable[str]:
        if not self.enabled:
            yield "the prompt takes text only (media.enabled is false)"
            return
        if self.supported_types is not None and part.type not in self.supported_types:
            yield f"the prompt takes no {part.type}, only {', '.join(self.supported_types) or 'text'}"
            return
        rules = self.limits.get(part.type, {})
        most, size = rules.get("max_size_mb"), 0 if part.data is None else len(part.data)
        if most is not None and size > most * _MEBIBYTE:
            yield f"the {part.type} has {size / _MEBIBYTE:.2f} MiB, and {most} are allowed"
        allowed = rules.get("allowed_formats")
        for form in _formats_of(part):
            if allowed is not None and form not in map(_called, allowed):
                yield f"the {part.type} is {form}, and {', '.join(allowed) or 'none'} is allowed"


def parse(raw: Mapping[str, Any], path: str, findings: Findings) -> MediaLimits:
    """Give the limits of *raw*; what is wrong with them becomes findings, a limit that is none a fatal one."""
    supported = raw.get("supported_types")
    types = tuple(each for each in supported if isinstance(each, str)) if isinstance(supported, list) else None
    known = {key: Shape("object", keys=keys, fatal=True) for key, keys in _KINDS.items()}
    known |= {"enabled": Shape("boolean", fatal=True), "supported_types": _TYPES}
    known |= {"examples": Shape("array", each=_EXAMPLE)}
    custom = {key: Shape("object", keys=_OTHER, fatal=True) for key in types or () if key not in known}
    measure(raw, Shape("object", keys={**known, **custom}, needed=("enabled",)), path, findings)
    for place, each in enumerate(types or ()):
        if each not in _KINDS and each not in raw:
            hint = similar(each, _KINDS) or f' Describe it under "{each}"'
            findings.add(step(step(path, "supported_types"), place), f"{shown(each)} is no type that is known.{hint}")
    for sort, words in _KNOWN_FORMATS.items():
        _formats(raw.get(sort), words, step(path, sort), findings)
    for place, example in enumerate(raw["examples"] if isinstance(raw.get("examples"), list) else ()):
        _example(example, step(step(path, "examples"), place), findings)
    limits = {key: raw[key] for key in (*_KINDS, *custom) if isinstance(raw.get(key), dict)}
    return MediaLimits(raw.get("enabled") is True, types, limits)


def _formats(given: Any, known: tuple[str, ...], path: str, findings: Findings) -> None:
    formats = given.get("allowed_formats") if isinstance(given, dict) else None
    for place, each in enumerate(formats if isinstance(formats, list) else ()):
        if isinstance(each, str) and each not in known and not findings.full():
            here = step(step(path, "allowed_formats"), place)
            findings.add(here, f"{shown(each)} is not one of {', '.join(known)}.{similar(each, known)}")


def _example(example: Any, path: str, findings: Findings) -> None:
    parts = example.get("parts") if isinstance(example, dict) else None
    for place, part in enumerate(parts if isinstance(parts, list) else ()):
        media = part.get("media") if isinstance(part, dict) else None
        file = media.get("file_path") if isinstance(media, dict) else None
        if isinstance(file, str) and escapes(file):
            here = step(step(step(step(path, "parts"), place), "media"), "file_path")
            findings.add(here, f"{shown(file)} leads out of the pack's folder; it is never read")


def _formats_of(part: Image | Document) -> Iterable[str]:
    """Give the formats of *part* as packs call them: what its bytes begin with, and what is said of it, else its name.

    Nothing is fetched: of what is at an address, only the address's end tells.
    """
    held, name = media_type(part.data), part.name if isinstance(part, Document) else None
    told = (held, part.media_type or (None if held else media_type(None, name) or _ending(part)))
    return dict.fromkeys(_called(each.partition(";")[0].strip().rpartition("/")[2]) for each in told if each)


def _ending(part: Image | Document) -> str | None:
    """Give the media type that the end of an address tells, where it is one that such a part can be of."""
    sort = None if part.url is None else media_type(None, part.url.partition("#")[0].partition("?")[0])
    if sort is None or isinstance(part, Image):
        return sort if sort and sort.startswith("image/") else None
    form = sort.rpartition("/")[2]
    return sort if sort.startswith("text/") or form == "pdf" or form in _CALLED else None


def _called(form: str) -> str:
    form = form.lower().lstrip(".")
    return _CALLED.get(form, form)
