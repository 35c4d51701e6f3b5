"""A key in, the same key out for the wire alone: it never prints."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, SupportsIndex

MASK = "[key]"
_SHORTEST = 4
"""A value of fewer characters is a toy, and occurs everywhere."""
_RUN = 9
"""So many characters in a row give a longer key away. Providers mask keys themselves: 8 of the beginning stay."""
_PIECE = 8
"""What is shorter in a header is a word of its syntax rather than a key."""
_NAMES = re.compile(
    r"(?<!idempotency-)(key|token|secret|auth|authorization|cookie|password|passwd|pwd|credentials?|signature|sig|jwt)"
    r"(?![a-z])|^code$",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"[A-Za-z][\w-]*")
_NAMED = re.compile(r"[\w-]+=(?=[^=])")
_ESCAPE = re.compile(
    r"%([0-9a-f]{2})|\\u([0-9a-f]{4})|\\x([0-9a-f]{2})|&#x([0-9a-f]{1,5});|&#(\d{1,6});|\\(.)", re.I | re.A
)
"""One character as URLs, JSON, Python and HTML may write it."""
_FOLDED = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ-_", "abcdefghijklmnopqrstuvwxyz+/")
"""Case does not count, and Base64 has two alphabets."""
_USER = re.compile(r"^([a-z][\w+.-]*:(?=//))?(//)?[^?#]*@", re.IGNORECASE)
_QUERY = re.compile(r"([?#]).*", re.DOTALL)

Spans = list[tuple[int, int]]


def plain(text: str) -> str:
    """Give the real characters of *text*, which may be a Secret."""
    return str.__str__(text)


class Secret(str):
    """A string that shows itself as ``[key]`` wherever it is printed, formatted, logged, sliced or pickled.

    Only explicit operations on its characters (``+``, ``encode``, :func:`plain`) give the real text,
    so a traceback with local variables or a repr of headers does not leak it.

    Args:
        also: further values that :meth:`scrub` looks for, such as a password that goes beside the key.
    """

    __slots__ = ("_runs", "also")

    also: tuple[Secret, ...]
    _runs: tuple[tuple[int, frozenset[str]], ...] | None

    def __new__(cls, text: str = "", also: Iterable[str] = ()) -> Secret:  # noqa: D102
        secret = super().__new__(cls, plain(text))  # str() of a secret would be its mask
        secret.also = tuple(map(Secret, also))
        secret._runs = None
        return secret

    @classmethod
    def of(cls, text: str | None) -> str | None:
        """Give *text* as a secret; what is no string as it is, for others to complain of."""
        return cls(text) if isinstance(text, str) else text

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return self.__repr__()

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __getitem__(self, key: SupportsIndex | slice) -> Secret:
        return Secret(super().__getitem__(key))  # who shortens it for print shows nothing either

    def __reduce__(self) -> tuple[Any, ...]:
        return (Secret, (MASK,))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: Any) -> Secret:
        return self

    def prefixed(self, prefix: str) -> Secret:
        """Give the secret with *prefix* in front, still secret: ``Bearer …``."""
        return Secret(str.__add__(prefix, self))

    def beside(self, other: Secret) -> Secret:
        """Give the secret with *other*, and what is also one there, to be scrubbed with it."""
        return Secret(self, also=(*self.also, other, *other.also)) if other or other.also else self

    def scrub(self, text: str) -> str:
        """Replace by ``[key]`` all that *text* shows of the secret and of what is :attr:`also` one.

        That is every run of 9 of its characters, plain, in either case, escaped as in URLs, JSON or HTML, or in Base64.
        Of 8 characters or fewer it is the whole, standing by itself; a toy of up to 3 letters stays.
        """
        shown, at = [], 0
        for begin, end in self.places(text):
            shown += [text[at:begin], MASK]
            at = end
        return "".join([*shown, text[at:]]) if shown else text

    def found_in(self, text: str) -> bool:
        """Tell whether *text* shows the secret, or a part of it."""
        return bool(self.places(text))

    def places(self, text: str) -> Spans:
        """Give where *text* shows the secret, each place by its begin and end, in order and apart."""
        if self._runs is None:
            self._runs = _runs((plain(self), *map(plain, self.also)))
        if not self._runs:
            return []
        text = plain(text)
        found = _spans(text.translate(_FOLDED), self._runs)
        if any(mark in text for mark in "%\\&"):
            read, places = _unescaped(text)
            found += [(places[begin], places[end]) for begin, end in _spans(read.translate(_FOLDED), self._runs)]
        return _joined(found)


class Address(Secret):
    """A URL that shows itself without its query, which holds a key."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(bare_address(self))

    def __str__(self) -> str:
        return bare_address(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Address, (bare_address(self),))


def bare_address(said: str) -> str:
    """Give an address, or what was meant as one, as it may be shown: without user, password, query and fragment."""
    return _QUERY.sub(rf"\1{MASK}", _USER.sub(rf"\1\2{MASK}@", plain(said)))


def names_secret(name: str) -> bool:
    """Tell whether a header or a parameter of that *name* holds a key: X-Api-Key, Cookie, access_token, sig."""
    return _NAMES.search(name) is not None


def secrets_in(value: str) -> Iterator[str]:
    """Give what is secret in a header's *value*: no scheme's name, cookies one by one, Basic's password too."""
    scheme, *pieces = plain(value).replace(";", " ").replace(",", " ").split() or [""]
    if not (pieces and _SCHEME.fullmatch(scheme)):
        pieces.insert(0, scheme)
    for piece in pieces:
        bare = _NAMED.sub("", piece, count=1).strip('"')
        if len(bare) >= _PIECE or len(pieces) == 1:
            yield bare
    if scheme.lower() == "basic" and len(pieces) == 1:
        yield from _password(pieces[0])


def secrets_queried(query: str) -> Iterator[str]:
    """Give what is secret in a URL's *query*, as it stands there and unquoted."""
    from urllib.parse import unquote_plus

    for name, value in re.findall(r"([^&=]*)=([^&]*)", plain(query)):
        if names_secret(unquote_plus(name)):
            yield from (value, unquote_plus(value))


def secrets_of(address: str) -> Iterator[str]:
    """Give what is secret in a URL: user and password, as they stand there, unquoted and as a Basic header has them."""
    from urllib.parse import unquote

    user = plain(address).rpartition("@")[0].rpartition("//")[2] if isinstance(address, str) else ""
    if user:
        said = unquote(user)
        yield from (user, said, said.partition(":")[2], b64encode(said.encode()).decode())


def hide(options: dict[str, Any]) -> dict[str, Any]:
    """Put secrets in the place of the keys among a provider's *options*, so that no frame of a traceback shows them."""
    if "api_key" in options:
        options["api_key"] = Secret.of(options["api_key"])
    for name in {"headers", "proxies"} & options.keys():
        options[name] = hidden(options[name])
    return options


def hidden(values: Any) -> Any:
    """Give a mapping with secrets in the place of its strings; anything else as it is."""
    if not isinstance(values, Mapping):
        return values
    return {name: Secret.of(value) for name, value in values.items()}


def _password(basic: str) -> Iterator[str]:
    try:
        user, colon, password = b64decode(basic, validate=True).decode().partition(":")
    except ValueError:
        return
    if colon:
        yield from (user + colon + password, password)


def _runs(values: Iterable[str]) -> tuple[tuple[int, frozenset[str]], ...]:
    """Give the runs of characters, by their length, that give any of *values* away."""
    by_size: dict[int, set[str]] = {}
    for value in values:
        if len(value) >= _SHORTEST:
            for form in (value, *_in_base64(value)):
                folded, size = form.translate(_FOLDED), min(len(form), _RUN)
                by_size.setdefault(size, set()).update([folded[at : at + size] for at in range(len(folded) - size + 1)])
    return tuple((size, frozenset(runs)) for size, runs in by_size.items())


def _in_base64(value: str) -> Iterator[str]:
    """Give what all Base64 of texts that hold *value* have in common, for each of the three ways it may be aligned."""
    for offset in range(3):
        data = bytes(offset) + value.encode(errors="surrogatepass")
        form = b64encode(data).decode().rstrip("=")
        # The characters at either end hold bits of the neighbours as well.
        form = form[-(-offset * 8 // 6) : None if len(data) % 3 == 0 else -1]
        if len(form) >= _RUN:
            yield form


def _spans(text: str, sizes: tuple[tuple[int, frozenset[str]], ...]) -> Spans:
    return [
        (at, at + size)
        for size, runs in sizes
        for at in range(len(text) - size + 1)
        if text[at : at + size] in runs and (size == _RUN or _stands_alone(text, at, at + size))
    ]


def _stands_alone(text: str, begin: int, end: int) -> bool:
    return not (text[begin - 1 : begin].isalnum() or text[end : end + 1].isalnum())


def _unescaped(text: str) -> tuple[str, list[int]]:
    """Give *text* with its escapes read, and where in it each character of that, and its end, is to be found."""
    read: list[str] = []
    places: list[int] = []
    at = 0
    for escape in _ESCAPE.finditer(text):
        read += text[at : escape.start()]
        places += range(at, escape.start())
        percent, u, x, html, number, itself = escape.groups()
        code = percent or u or x or html
        read.append(itself or chr(int(code, 16) if code else min(int(number), 0x10FFFF)))
        places.append(escape.start())
        at = escape.end()
    read += text[at:]
    places += range(at, len(text) + 1)
    return "".join(read), places


def _joined(spans: Spans) -> Spans:
    joined: Spans = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined
