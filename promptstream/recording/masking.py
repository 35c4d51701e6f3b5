"""Values and secrets in, values that JSON has words for out, without a secret in them."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from promptstream.errors import ConfigError
from promptstream.values.secret import MASK, Secret, names_secret, plain, secrets_of

Hook = Callable[[str], str]
_KEYS = re.compile(r"(^|_)(API_?KEY|ACCESS_KEY|SECRET_KEY|TOKEN|SECRET)$|PASSWORD$", re.IGNORECASE)
_PROXIES = re.compile(r"_PROXY$", re.IGNORECASE)
_LONG, _SHORT = 16, 8
"""Characters of a key, and of one of letters and digits; what is shorter may be any word."""
_PLACEHOLDERS = {"sk-no-key-required", "your-api-key-here", "api-key-not-needed", "no-api-key-needed"}
"""What is given for a key where a server asks for none, and is long enough for one."""
_ESCAPES = re.compile(r"[%\\&]")
_TAIL = 16
"""Characters of a stream kept to see what goes on from one piece into the next: a key shows by 9."""
_ESCAPED_TAIL = 160
"""The same where they are escaped."""


def check_hooks(redact: Any) -> tuple[Hook, ...]:
    """Give the functions of ``redact=``, one or several.

    Raises:
        ConfigError: one cannot be called.
    """
    hooks = () if redact is None else (redact,) if callable(redact) or isinstance(redact, str) else tuple(redact)
    for hook in hooks:
        if not callable(hook):
            raise ConfigError(f"redact: {hook!r:.60} cannot be called; give a function of a string that gives one.")
    return hooks


def environment_secrets() -> list[str]:
    """Give the keys and passwords that the environment holds: of …_API_KEY, …_TOKEN and the like, and of proxies."""
    kept = [value for name, value in os.environ.items() if _KEYS.search(name)]
    kept += [each for name, url in os.environ.items() if _PROXIES.search(name) for each in secrets_of(url)]
    return [value for value in kept if is_key(value)]


def is_key(text: str) -> bool:
    """Tell whether a secret is masked: "test" and "EMPTY" pass for keys, and are words that an answer may hold."""
    if text.lower().replace("_", "-") in _PLACEHOLDERS:
        return False
    mixed = any(map(str.isdigit, text)) and any(map(str.isalpha, text))
    return len(text) >= (_SHORT if mixed else _LONG)


def redacted(text: str, hooks: Iterable[Hook]) -> str:
    """Give what *hooks* make of a text, one after the other.

    Raises:
        ConfigError: one fails, or gives no string.
    """
    for hook in hooks:
        name = getattr(hook, "__qualname__", None) or repr(hook)
        try:
            text = hook(text)
        except Exception as error:
            raise ConfigError(f"redact: {name:.60} failed: {type(error).__name__}: {error}") from error
        if not isinstance(text, str):
            raise ConfigError(f"redact: {name:.60} gave {text!r:.40}; it has to give a string.")
    return text


class Masker:
    """Take secrets out of what is to be written, then run the hooks over it. Any thread may use it."""

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        self.hooks = [*hooks]
        self._known = dict.fromkeys(environment_secrets())
        self._lock = threading.Lock()
        self.secret = Secret(also=self._known)

    def learn(self, secret: Secret) -> None:
        """Look for *secret* too, and for what it is beside."""
        with self._lock:
            told = [plain(each) for each in (secret, *secret.also)]
            known = self._known | dict.fromkeys(filter(is_key, told))
            if len(known) > len(self._known):
                self._known, self.secret = known, Secret(also=known)

    def text(self, text: str) -> str:
        """Give a whole text as it may be written."""
        return redacted(MASK if isinstance(text, Secret) else self.secret.scrub(text), self.hooks)

    def value(self, value: Any, hidden: bool = False) -> Any:
        """Give *value* as JSON has it: bytes by their digest, what it has no words for as it prints.

        *hidden* says that what stands under the name of a secret is one, as in what goes into a request verbatim.
        """
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, Mapping):
            return {
                self.text(str(name)): MASK
                if hidden and isinstance(each, str) and names_secret(str(name))
                else self.value(each, hidden)
                for name, each in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.value(each, hidden) for each in value]
        return digest(value) if isinstance(value, bytes) else self.text(str(value))

    def piece(self, text: str, before: str) -> tuple[str, str]:
        """Give a piece of a stream as it may be written, and what to give as *before* with the next one."""
        whole = before + text
        shown, at = [], len(before)
        for begin, end in self.secret.places(whole):
            if end > at:
                shown += [whole[at : max(begin, at)], MASK]
                at = end
        tail = whole[-_ESCAPED_TAIL:]
        return redacted("".join([*shown, whole[at:]]), self.hooks), tail if _ESCAPES.search(tail) else tail[-_TAIL:]


def digest(data: bytes) -> dict[str, Any]:
    """Give what tells *data* from any other: a recording holds no pictures."""
    from hashlib import sha256

    return {"sha256": sha256(data).hexdigest(), "bytes": len(data)}
