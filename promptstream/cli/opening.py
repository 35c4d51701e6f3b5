"""The flags of a command in, the conversation they mean out, with the embedded model fetched where it is needed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from promptstream.cli.terminal import is_terminal, tell
from promptstream.conversation import Conversation
from promptstream.errors import ConfigError, StreamError
from promptstream.opening import chat as open_chat
from promptstream.opening import open as open_pack
from promptstream.packs.pack import Pack, Prompt, load
from promptstream.providers.registry import Choice, choose, get
from promptstream.values.hosts import is_loopback
from promptstream.values.timing import Timeout
from promptstream.wire.retry import Retry


@attrs.frozen(eq=False)
class Flags:
    """Hold the flags that every command with an answer takes."""

    provider: str | None = None
    model: str | None = None
    base_url: str | None = None
    variables: Mapping[str, str] = attrs.field(factory=dict)
    timeout: float | None = None
    stats: bool = False
    events: bool = False

    @property
    def talkative(self) -> bool:
        """True where a person watches: standard error is a terminal, or figures were asked for."""
        return self.stats or is_terminal(sys.stderr)


def open_conversation(
    flags: Flags, *, pack: str | None = None, prompt: str | None = None, system: str = ""
) -> Conversation:
    """Open a conversation, on a pack's prompt or without one, ready for its first turn.

    Tells which provider was chosen and why; fetches the embedded model's weights on first use.

    Raises:
        PromptStreamError: the pack, the provider, a variable or the weights cannot be had.
    """
    loaded = None if pack is None else load(pack)
    choice = _chosen(flags, loaded)
    settings: dict[str, Any] = {
        "provider": flags.provider or ("ollama" if choice.model else None),
        "model": flags.model or choice.model,
        "base_url": flags.base_url,
        "timeout": flags.timeout,
        "retry": Retry(on_retry=_tell_retry if flags.talkative else None),
    }
    if loaded is None:
        conv = open_chat(system, variables=flags.variables or None, **settings)
    else:
        conv = open_pack(loaded, prompt, variables=flags.variables, **settings)
        _doubt(flags.variables, loaded.prompt(prompt))
    try:
        _ = conv.system  # a missing variable should not wait for a download
        if flags.talkative:
            tell(f"{conv.provider.name} · {conv.provider.model or 'its own model'} ({choice.reason})", dim=True)
        if conv.provider.name == "local":
            _fetch_weights()
    except BaseException:
        conv.close()
        raise
    return conv


def _chosen(flags: Flags, pack: Pack | None) -> Choice:
    if flags.provider:
        found = newest_ollama_model() if flags.provider == "ollama" and not flags.model else None
        return Choice(flags.provider, "named by --provider", found)
    if flags.base_url:
        return Choice("compatible", "--base-url is given")
    wanted = pack.provider if pack is not None else None
    if wanted is not None and wanted.name:
        return Choice(wanted.name, "named by the pack")
    return choose(flags.model or (wanted.model if wanted is not None else None), ollama=newest_ollama_model)


def newest_ollama_model() -> str | None:
    """Give the newest model of an Ollama that answers on this machine, or None."""
    try:
        with get("ollama", timeout=Timeout(connect=0.3, total=1), retry=Retry(attempts=1)) as ollama:
            dialect: Any = ollama.dialect
            if not is_loopback(urlsplit(dialect.base_url).hostname or ""):
                return None
            models = ollama.models()
    except (ConfigError, StreamError):  # none that could answer, or none that does
        return None
    return models[0].id if models else None


def _doubt(variables: Mapping[str, str], prompt: Prompt) -> None:
    known = {*prompt.template.names, *(each.name for each in prompt.variables)}
    for name in variables:
        if name not in known:
            tell(f"Warning: --var {name}: the prompt {prompt.name!r} has no such variable.")


def _tell_retry(error: StreamError, delay: float) -> None:
    tell(f"{error} Trying again in {delay:.1f} s.", dim=True)


def _fetch_weights() -> None:
    from promptstream.providers.local import weights

    if not weights.installed():
        from promptstream.cli.install import install

        install()
