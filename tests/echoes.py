"""A dialect and a request in, replies that quote the request's keys out, in every place where a server can."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

from canary import BASIC, CANARIES
from faults.says import begun, opened, streamed
from server import full, head, http_chunk, zipped


def quoted(request, form="plain"):
    """Quote every key that *request* came with, as servers do in their messages."""
    said = f"{request.target} {' '.join(request.headers.values())}"
    if BASIC in said:
        said += f" {CANARIES['basic']}"
    return {
        "plain": said,
        "upper": said.upper(),
        "lower": said.lower(),
        "url": quote(said, safe=" "),
        "json": json.dumps(said)[1:-1].replace("/", "\\/").replace("+", "\\u002b"),
        "base64": base64.b64encode(said.encode()).decode(),
        "middle": " ".join(canary[3:] for canary in CANARIES.values() if canary in said),
    }[form]


FORMS = ("plain", "upper", "lower", "url", "json", "base64", "middle")


def replaced(value, said):
    """Give the JSON *value* of an error with *said* in the place of each of its texts for people."""
    if isinstance(value, dict):
        return {
            name: said if name in ("message", "error") and isinstance(each, str) else replaced(each, said)
            for name, each in value.items()
        }
    return [replaced(each, said) for each in value] if isinstance(value, list) else value


def failing(dialect, said):
    """Give the event by which *dialect* fails inside a stream, saying *said*."""
    written = dialect.failure("server").decode().replace("\r\n", "\n")
    if dialect.framing == "ndjson":
        return event(dialect, json.dumps(replaced(json.loads(written), said)))
    events = []
    for block in filter(None, written.split("\n\n")):
        name, _, data = block.rpartition("data:")
        value = json.loads(data)
        events.append(name.encode() + event(dialect, json.dumps(replaced(value, said))))
    return b"".join(events)


def event(dialect, text):
    """Frame *text* as an event of *dialect*."""
    return (f"{text}\n" if dialect.framing == "ndjson" else f"data: {text}\n\n").encode()


def in_message(dialect, said):
    """Refuse the key with its name."""
    return full("401 No", json.dumps({"error": {"message": f"Incorrect API key provided: {said}."}}))


def in_every_field(dialect, said):
    """Put it wherever an error may say something."""
    error = {"message": said, "type": said, "code": said, "param": said, "status": said}
    return full("400 No", json.dumps({"error": error, "request_id": said, "message": said, "code": said}))


def in_plain_text(dialect, said):
    """Dump the request's head."""
    return full("403 No", f"You sent {said}", "text/plain")


def in_headers(dialect, said):
    """Put it into headers, the content type and the reason phrase."""
    named = {"X_Request_Id": said, "Request_Id": said, "Retry_After": said, "Cf_Ray": said, "X_Should_Retry": said}
    return full(f"500 {said}", "", f"text/{said}", **named)


def in_a_redirect(dialect, said):
    """Redirect to it."""
    return full("307 Go", Location=f"http://u:{said}@{quote(said, safe='')}.invalid/{said}?{said}")


def in_a_stream(dialect, said):
    """Fail in mid-stream."""
    return begun(dialect) + http_chunk(failing(dialect, said)) + b"0\r\n\r\n"


def at_the_beginning_of_a_stream(dialect, said):
    """Fail inside a 200."""
    return streamed(dialect, failing(dialect, said))


def as_rubbish(dialect, said):
    """Send an event that is no JSON."""
    return streamed(dialect, event(dialect, f"key {said} unknown"))


def as_rubbish_in_json(dialect, said):
    """Send an event that is cut in the middle of its JSON, and one that is of no protocol."""
    return streamed(dialect, event(dialect, json.dumps({"what": [said] * 3})[:-9]), event(dialect, json.dumps([said])))


def at_the_cut(dialect, said):
    """Quote it where a message's excerpt is cut."""
    return streamed(dialect, event(dialect, f"{'x' * 80}{said}"))


def as_a_status_line(dialect, said):
    """Answer with what is no HTTP."""
    return f"{said}\r\n\r\n".encode()


def as_a_version(dialect, said):
    """Answer in an unknown version of HTTP."""
    return f"HTTP/{said} 200 OK\r\n\r\n".encode()


def as_header_lines(dialect, said):
    """Send a line among the headers that is none."""
    return head("500 No", X_Request_Id=said).replace(b"\r\n\r\n", f"\r\n{said}\r\n: {said}\r\n\r\n".encode())


def as_a_chunk_size(dialect, said):
    """Frame the body by what is no number."""
    return opened(dialect) + http_chunk(dialect.events()[0]) + f"{said}\r\n".encode()


def as_a_content_type(dialect, said):
    """Label the answer with it."""
    return full("200 OK", "hello", f"application/{said}")


def as_an_encoding(dialect, said):
    """Say that the body is packed with it."""
    return full("200 OK", said, dialect.wire.stream_type, Content_Encoding=said)


def in_a_broken_archive(dialect, said):
    """Pack it, and break the archive."""
    return full("200 OK", zipped(said.encode())[:-9], dialect.wire.stream_type, Content_Encoding="gzip")


def in_one_json_body(dialect, said):
    """Answer 200 with an error, as one JSON body."""
    return full("200 OK", json.dumps({"error": {"message": said, "code": said, "type": said}}))


def in_the_requests_id(dialect, said):
    """Name a good answer by it, and cut that."""
    return opened(dialect, X_Request_Id=said, Request_Id=said, X_Generation_Id=said) + http_chunk(dialect.events()[0])


QUOTES = (
    *(in_message, in_every_field, in_plain_text, in_headers, in_a_redirect, in_a_stream, at_the_beginning_of_a_stream),
    *(as_rubbish, as_rubbish_in_json, at_the_cut, as_a_status_line, as_a_version, as_header_lines, as_a_chunk_size),
    *(as_a_content_type, as_an_encoding, in_a_broken_archive, in_one_json_body, in_the_requests_id),
)


def quoting(quote, dialect, form="plain"):
    """Make a script that answers each request by *quote*, and hangs up."""

    def script(conn):
        conn.send(quote(dialect, quoted(conn.request(), form)))
        conn.end()
        conn.wait_for_hang_up()

    return script
