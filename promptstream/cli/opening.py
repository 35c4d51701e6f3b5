"""The flags of a command in, the conversation they mean out, with the embedded model fetched where it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs

from promptstream.cli import keeping
from promptstream.cli.asking import Person
from promptstream.cli.flags import Flags
from promptstream.cli.talk import Talk
from promptstream.cli.terminal import tell
from promptstream.cli.toolfile import load_tools
from promptstream.conversation import Conversation
from promptstream.errors import ConfigError, StreamError
from promptstream.opening import chat as open_chat
from promptstream.opening import open as open_pack
from promptstream.opening import resume as open_kept
from promptstream.packs.pack import Pack, Prompt, load
from promptstream.providers.registry import Choice, choose, get
from promptstream.tools.tool import Tool, tool
from promptstream.values.hosts import is_loopback
from promptstream.values.timing import Timeout
from promptstream.wire.retry import Retry


def open_talk(
    flags: Flags, *, pack: str | None = None, prompt: str | None = None, system: str = "", lasting: bool = False
) -> Talk:
    """Open a conversation, on a pack's prompt or without one, ready for its first turn, or go on with a kept one.

    Tells which provider was chosen and why; fetches the embedded model's weights on first use.

    Args:
        lasting: a person who leaves a question is asked again later.

    Raises:
        PromptStreamError: the pack, the provider, a variable, a tool or the weights cannot be had, or there is a
            conversation of the name to be saved, or none of the one to be resumed.
    """
    person = Person.present(events=flags.events)
    tools = _asked_about(load_tools(flags.tools), flags, person)
    if flags.resume is None:
        conv = _opened(flags, tools, pack, prompt, system)
    else:
        conv = _resumed(flags, flags.resume, tools, pack, prompt)
    lasting = lasting and person is not None
    return Talk(conv, flags, person, frozenset(each.name for each in tools), lasting=lasting)


def _asked_about(tools: Sequence[Tool], flags: Flags, person: Person | None) -> list[Tool]:
    """Give *tools* so that each call waits for a person's word, where there is one and they want that."""
    if flags.yes:
        return [tool(each, approval=False) for each in tools]
    return [each if person is None else tool(each, approval=True) for each in tools]


def _opened(flags: Flags, tools: Sequence[Tool], pack: str | None, prompt: str | None, system: str) -> Conversation:
    loaded = None if pack is None else load(pack)
    settings: dict[str, Any] = {"tools": tools}
    if flags.save is not None:
        keeping.check_free(flags.save)
        settings |= {"store": keeping.place(), "conversation_id": flags.save}
    choice = _chosen(flags, loaded)
    settings |= _settings(flags, choice)
    if loaded is None:
        conv = open_chat(system, variables=flags.variables or None, **settings)
    else:
        conv = open_pack(loaded, prompt, variables=flags.variables, **settings)
    return _ready(conv, flags, choice, None if loaded is None else loaded.prompt(prompt))


def _resumed(flags: Flags, name: str, tools: Sequence[Tool], pack: str | None, prompt: str | None) -> Conversation:
    kept = keeping.find(name)
    origin = kept.state.get("origin")
    origin = origin if isinstance(origin, Mapping) else {}
    file = pack or origin.get("pack")
    loaded = None if file is None else load(file)
    prompt = prompt or (origin.get("prompt") if pack is None else None)
    before = keeping.Setup.of(kept.state.get("metadata"))
    variables = {**before.variables, **flags.variables}
    if flags.base_url is None and flags.provider in (None, before.provider):
        flags = attrs.evolve(
            flags, provider=before.provider, base_url=before.base_url, model=flags.model or before.model
        )
        _check_address(before)
    flags = attrs.evolve(flags, variables=variables)
    choice = _chosen(flags, loaded)
    if before.provider and flags.provider == before.provider:
        choice = attrs.evolve(choice, reason="as before")
    settings: dict[str, Any] = {"tools": tools, "variables": variables or None, **_settings(flags, choice)}
    conv = open_kept(name, loaded, prompt, store=keeping.place(), **settings)
    return _ready(conv, flags, choice, None if loaded is None else loaded.prompt(prompt))


def _check_address(before: keeping.Setup) -> None:
    """Make sure that a key goes only where this user has sent it: others may write to a server's store."""
    if before.provider and before.base_url and keeping.is_remote(keeping.place()):
        host = urlsplit(before.base_url).hostname or ""
        if not is_loopback(host):
            raise ConfigError(
                f"This conversation was had with {before.provider} at {before.base_url}. A key would go there: if that "
                "is right, give --provider and --base-url again."
            )


def _settings(flags: Flags, choice: Choice) -> dict[str, Any]:
    return {
        "provider": flags.provider or ("ollama" if choice.model else None),
        "model": flags.model or choice.model,
        "base_url": flags.base_url,
        "timeout": flags.timeout,
        "retry": Retry(on_retry=_tell_retry if flags.talkative else None),
    }


def _ready(conv: Conversation, flags: Flags, choice: Choice, prompt: Prompt | None) -> Conversation:
    """Give *conv* once its first turn can be taken; it is closed where that fails."""
    try:
        if prompt is not None:
            _doubt(flags.variables, prompt)
        _ = conv.system  # a missing variable should not wait for a download
        if flags.talkative:
            tell(f"{conv.provider.name} · {conv.provider.model or 'its own model'} ({choice.reason})", dim=True)
        if conv.provider.name == "local":
            _fetch_weights()
        if flags.kept is not None:
            named = None if flags.base_url and not flags.provider else choice.name
            setup = keeping.Setup(named, conv.provider.model or None, flags.base_url, flags.variables)
            conv.metadata["cli"] = setup.to_dict()
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
