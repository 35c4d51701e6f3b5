"""The media of a prompt: which attachments are taken, what is filled in, and what can be wrong with the limits."""

from __future__ import annotations

from typing import Any

import pytest
from test_packs import refused, with_prompt

from promptstream.errors import ConfigError
from promptstream.packs.media import MediaLimits
from promptstream.packs.pack import load
from promptstream.values.message import Document, Image, Text

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff\xe0"


def told(pack: Any, path: str) -> str:
    """Give the messages of the findings at *path*, joined."""
    return "; ".join(each.message for each in load(pack).check() if each.path == path)


def limits(**media: Any) -> MediaLimits:
    """Give the limits that *media* means."""
    found = load(with_prompt(media={"enabled": True, **media})).prompt().media
    assert found is not None
    return found


def test_text_is_never_held_against_media_limits() -> None:
    """Even where media are off."""
    limits(enabled=False).check([Text("Hi")])


@pytest.mark.parametrize(
    ("media", "parts", "words"),
    [
        ({"enabled": False}, [Image(data=PNG)], "the prompt takes text only"),
        ({"supported_types": ["document"]}, [Image(data=PNG)], "takes no image, only document"),
        ({"supported_types": []}, [Image(data=PNG)], "takes no image, only text"),
        ({"image": {"allowed_formats": ["jpeg", "webp"]}}, [Image(data=PNG)], "the image is png, and jpeg, webp"),
        ({"image": {"max_size_mb": 1}}, [Image(data=PNG + bytes(1024 * 1024))], "1.00 MiB, and 1 are allowed"),
        ({"image": {"max_images_per_msg": 1}}, [Image(data=PNG)] * 2, "there are 2 images"),
        ({"document": {"allowed_formats": ["txt"]}}, [Document(data=b"%PDF-1.7")], "the document is pdf"),
        ({"document": {"max_size_mb": 1}}, [Document(data=bytes(2**20 + 1))], "attachment 1: the document has"),
    ],
)
def test_an_attachment_against_the_limits_is_refused(media: Any, parts: Any, words: str) -> None:
    """The error says which one and why."""
    with pytest.raises(ConfigError) as caught:
        limits(**media).check([Text("Look"), *parts])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("media", "part"),
    [
        ({}, Image(data=PNG)),
        ({"image": {"allowed_formats": ["jpg"]}}, Image(data=b"\xff\xd8\xff", media_type="image/jpeg")),
        ({"image": {"allowed_formats": ["PNG"]}}, Image(data=PNG)),
        ({"image": {"allowed_formats": ["png"], "max_size_mb": 1}}, Image(url="https://example.com/a?b.gif")),
        ({"document": {"allowed_formats": ["txt", "md"]}}, Document(data=b"# Hi", name="a.md")),
        ({"document": {"allowed_formats": ["txt"]}}, Document(data=b"Hi", media_type="text/plain; charset=utf-8")),
        ({"image": {"max_size_mb": 1}}, Image(data=PNG.ljust(1024 * 1024))),
    ],
)
def test_an_attachment_within_the_limits_or_of_unknown_size_passes(media: Any, part: Any) -> None:
    """What an address leads to is not known here."""
    limits(**media).check([part])


@pytest.mark.parametrize(
    ("media", "path", "words"),
    [
        ({"enabled": "yes"}, ".enabled", "must be a boolean"),
        ({"enabled": True, "image": []}, ".image", "must be an object"),
        ({"enabled": True, "image": {"max_size_mb": 0}}, ".image.max_size_mb", "of 1 or more"),
        ({"enabled": True, "supported_types": "image"}, ".supported_types", "must be an array"),
    ],
)
def test_media_limits_that_mean_nothing_are_refused(media: Any, path: str, words: str) -> None:
    """A limit that was passed over would be none."""
    (only,) = refused(with_prompt(media=media)).problems
    assert only.startswith(f"$.prompts.chat.media{path}: ")
    assert words in only


@pytest.mark.parametrize(
    ("media", "path", "words"),
    [
        ({}, ".enabled", "is missing"),
        ({"image": {"allowed_formats": ["pgn"]}}, ".image.allowed_formats[0]", "Did you mean 'png'?"),
        ({"supported_types": ["imge"]}, ".supported_types[0]", "Did you mean 'image'?"),
        ({"immage": {}}, ".immage", "Did you mean 'image'?"),
        ({"image": {"max_size": 1}}, ".image.max_size", "Did you mean 'max_size_mb'?"),
        (
            {"examples": [{"name": "e", "role": "user", "parts": [{"type": "image", "media": {
                "mime_type": "image/png", "file_path": "../../etc/passwd"}}]}]},
            ".examples[0].parts[0].media.file_path",
            "leads out of the pack's folder",
        ),
    ],
)  # fmt: skip
def test_slips_in_media_are_findings(media: Any, path: str, words: str) -> None:
    """Each at its place."""
    assert words in told(with_prompt(media=media), f"$.prompts.chat.media{path}")


# Formats


@pytest.mark.parametrize(
    ("allowed", "part", "form"),
    [
        (["png"], Image(data=JPEG, media_type="image/png"), "jpeg"),
        (["jpeg"], Image(data=JPEG, media_type="image/png"), "png"),
        (["png"], Image(url="https://example.com/a.JPG?size=1#top"), "jpeg"),
        (["png"], Image(url="https://example.com/a", media_type="image/webp"), "webp"),
        (["txt"], Document(data=b"%PDF-1.7", media_type="text/plain"), "pdf"),
        (["txt"], Document(data=b"%PDF-1.7", name="a.txt"), "pdf"),
        (["txt"], Document(url="https://example.com/a.pdf"), "pdf"),
    ],
)
def test_what_is_said_of_an_attachment_and_what_it_is_must_both_be_allowed(allowed: Any, part: Any, form: str) -> None:
    """Its bytes, its media type, and the end of an address where nothing else tells."""
    rules = {part.type: {"allowed_formats": allowed}}
    with pytest.raises(ConfigError, match=f"the {part.type} is {form}, and {allowed[0]} is allowed"):
        limits(**rules).check([Text("Look"), part])


@pytest.mark.parametrize(
    "part",
    [
        Image(url="https://example.com/a.php"),
        Image(url="https://example.com/a.gif", media_type="image/png"),
        Image(url="https://example.com/a.pdf"),
        Image(data=PNG, media_type="image/png; charset=binary"),
    ],
)
def test_an_address_counts_only_where_its_end_tells_the_kind_of_image(part: Any) -> None:
    """What is said of it counts over its end; any other end tells nothing."""
    limits(image={"allowed_formats": ["png"]}).check([part])


# Captions and details


@pytest.mark.parametrize("beside", [[], [Text(" \n")], [Document(data=b"x", media_type="text/plain")]])
def test_an_image_needs_a_text_beside_it_where_captions_are_required(beside: Any) -> None:
    """Empty text is none."""
    with pytest.raises(ConfigError, match="an image needs a text beside it"):
        limits(image={"require_caption": True}).check([*beside, Image(data=PNG)])


@pytest.mark.parametrize("required", [True, False])
def test_a_caption_suffices_and_what_is_no_image_needs_none(required: bool) -> None:
    """One text for all images of a message."""
    rules = limits(image={"require_caption": required})
    rules.check([Image(data=PNG), Text("Look"), Image(data=PNG)])
    rules.check([Document(data=b"x", media_type="text/plain")])


def test_the_default_detail_is_that_of_images_that_say_none() -> None:
    """All else stays as it is, and in order."""
    text, own, document = Text("Look"), Image(data=PNG, detail="high"), Document(data=b"x", media_type="text/plain")
    parts = limits(image={"default_detail": "low"}).applied([text, Image(data=PNG), own, document])
    assert parts == (text, Image(data=PNG, detail="low"), own, document)
    assert limits().applied([Image(data=PNG)]) == (Image(data=PNG),)
