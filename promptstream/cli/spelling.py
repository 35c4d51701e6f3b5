"""What the library tells in, with what can be done about it as the command line spells that, out."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable

from promptstream.errors import MissingVariable

_PRICE = "'{input = …, output = …}'"
_ROOT = re.compile(r"[.\[]")
_WORDS = (
    ("give api_key=… or set", "keep one by promptstream config set-key, or set"),
    ("name one with provider=… and api_key=…", "keep a key by promptstream config set-key PROVIDER"),
    ("point base_url=… at a server", "point --base-url at a server"),
    ("(provider='ollama', model=…)", "(-p ollama)"),
    ("compatible needs base_url=…, ", "compatible needs --base-url, "),
    ("is base_url right?", "is --base-url right?"),
    ("Check base_url and the network", "Check --base-url and the network"),
    ("provider=promptstream.providers.Replay(path)", "promptstream replay FILE plays one"),
)
"""What is to be given, in Python and here."""


def _priced(model: str) -> str:
    return f"promptstream config set {shlex.quote(f'prices.{model}')} {_PRICE}"


_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (
        re.compile(r"prices=\{(.*): promptstream\.Price\(input=…, output=…\)\}, in USD"),
        lambda found: f"it by: {_priced(ast.literal_eval(found[1]))}, in USD",
    ),
    (
        re.compile(r"(The price of (\S+) of \S+ is not known, so the cost is not;) prices= can say it\."),
        lambda found: f"{found[1]} say it by: {_priced(found[2])}",
    ),
    (re.compile(r"name it: provider='(\w+)'"), lambda found: f"name it: -p {found[1]}"),
    (
        re.compile(r"such as provider='(\w+)', model='([^']*)', or providers\.get\(.*\) in fallback"),
        lambda found: f"such as -p {found[1]} -m {found[2]}",
    ),
    (re.compile(r"; or, if the network is your own, give provider=.*allow_plaintext=True\)"), lambda found: ""),
)


def spelled_here(told: object) -> str:
    """Give the text of an error or of a warning, with flags and commands in place of what Python would be given."""
    if isinstance(told, MissingVariable):
        text, give, _ = str(told).rpartition(" Give variables={")
        names = dict.fromkeys(_ROOT.split(name)[0] for name in told.problems)
        return f"{text} Give {' '.join(f'--var {name}=…' for name in names)}." if give else str(told)
    text = str(told)
    for ours, here in _WORDS:
        text = text.replace(ours, here)
    for pattern, spelled in _PATTERNS:
        text = pattern.sub(spelled, text)
    return text
