"""What goes with a message: images and documents from files, addresses and bytes."""

from __future__ import annotations

import base64

import pytest

import promptstream
from promptstream import Document, Image
from promptstream.errors import ConfigError
from promptstream.history import attached_parts
from promptstream.providers import Scripted

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
)


def sent(*attachments, message="Look"):
    """Give the parts that a provider is sent."""
    provider = Scripted(["Fine"])
    with promptstream.chat(provider=provider) as conv:
        conv.send(message, attachments=attachments)
    return provider.requests[0].messages[-1].parts


def test_a_path_is_read_and_told_by_what_it_holds(tmp_path):
    """An image with a wrong ending is still an image; a PDF and a text are documents with their names."""
    (tmp_path / "photo.dat").write_bytes(PNG)
    (tmp_path / "paper").write_bytes(b"%PDF-1.7 ")
    (tmp_path / "notes.md").write_text("# Notes")
    text, image, paper, notes = sent(tmp_path / "photo.dat", str(tmp_path / "paper"), tmp_path / "notes.md")
    assert text.text == "Look"
    assert image == Image(data=PNG, media_type="image/png")
    assert paper == Document(data=b"%PDF-1.7 ", media_type="application/pdf", name="paper")
    assert notes == Document(data=b"# Notes", media_type="text/markdown", name="notes.md")


def test_an_address_bytes_and_parts_go_as_they_are():
    """An address is an image by URL, bytes are told by what they begin with, parts stay."""
    document = Document(url="https://example.org/a.pdf")
    _, by_url, by_bytes, given = sent("https://example.org/a.png", PNG, document)
    assert by_url == Image(url="https://example.org/a.png")
    assert by_bytes == Image(data=PNG, media_type="image/png")
    assert given is document


def test_a_data_address_is_the_bytes_it_holds():
    """Plain dicts often carry images so; every provider then gets bytes in its own form."""
    address = "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert sent(address)[1] == Image(data=PNG, media_type="image/png")
    plain = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": address}}]}
    assert promptstream.Message.from_dict(plain).parts == (Image(data=PNG, media_type="image/png"),)
    assert Document(url="data:,A%20note").data == b"A note"
    for broken in ("data:image/png;base64,%%%", "data:nothing"):
        with pytest.raises(ValueError, match=r"base64|data:|Only|padding|Incorrect|Non"):
            Image(url=broken)
        with pytest.raises(ConfigError, match="attachment"):
            sent(broken)


def test_attachments_alone_are_a_message():
    """Nothing needs to be said beside a picture."""
    assert sent(PNG, message=None) == (Image(data=PNG, media_type="image/png"),)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"\0\0\0\x18ftypheic", "image/heic"),
    ],
)
def test_an_image_is_known_by_its_first_bytes(data, kind):
    """The formats that providers take are told apart."""
    (part,) = attached_parts([data])
    assert part == Image(data=data, media_type=kind)


def test_what_cannot_be_read_is_told_before_anything_is_sent(tmp_path):
    """A missing file, unknown bytes, a folder, a number and a single value each say what to do."""
    (tmp_path / "blob").write_bytes(b"\0\1\2")
    provider = Scripted(["never"])
    conv = promptstream.chat(provider=provider)
    for wrong in (["nowhere.png"], [tmp_path], [tmp_path / "blob"], [b"\0\1\2"], [7], [["x"]], "photo.png", PNG):
        with pytest.raises(ConfigError, match=r"attach|Attach|holds"):
            conv.stream("Look", attachments=wrong)
    assert provider.requests == []


def test_an_image_from_a_file_that_holds_none_is_refused(tmp_path):
    """Image.from_file reads images only, and a missing file is an OSError as open() gives it."""
    (tmp_path / "a.png").write_bytes(PNG)
    assert Image.from_file(tmp_path / "a.png", detail="low") == Image(data=PNG, media_type="image/png", detail="low")
    (tmp_path / "a.txt").write_text("no image")
    with pytest.raises(ValueError, match=r"a\.txt"):
        Image.from_file(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError):
        Document.from_file(tmp_path / "gone.pdf")


def test_the_history_keeps_an_attachment_and_a_message_object_takes_more():
    """What was shown once is sent again with the next turn."""
    provider = Scripted(["One", "Two"])
    with promptstream.chat(provider=provider) as conv:
        conv.send(promptstream.Message("user", "Look"), attachments=[PNG])
        conv.send("Again")
    image = Image(data=PNG, media_type="image/png")
    assert provider.requests[1].messages[0].parts == (promptstream.Text("Look"), image)
