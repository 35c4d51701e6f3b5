"""The flags of a command in, the conversation they mean out, with the embedded model fetched where it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs

from promptstream.cli import keeping
from promptstream.cli.asking import Person
from promptstream.cli.choosing import ambient_place, chosen, credentials
from promptstream.cli.configured import parameters_of
from promptstream.cli.flags import Flags
from promptstream.cli.place import Place
from promptstream.cli.talk import Talk
from promptstream.cli.terminal import tell
from promptstream.cli.toolfile import load_tools
from promptstream.conversation import Conversation
from promptstream.errors import ConfigError, StreamError
from promptstream.middleware.recorder import Recorder
from promptstream.opening import chat as open_chat
from promptstream.opening import open as open_pack
from promptstream.opening import resume as open_kept
from promptstream.packs.pack import Pack, Prompt, load
from promptstream.providers.registry import Choice
from promptstream.tools.tool import Tool, tool
from promptstream.values.hosts import is_loopback
from promptstream.values.message import Part
from promptstream.wire.retry import Retry


def open_talk(
    flags: Flags,
    *,
    pack: str | None = None,
    prompt: str | None = None,
    system: str | None = None,
    parts: Sequence[Part] = (),
    lasting: bool = False,
) -> Talk:
    """Open a conversation, on a pack's prompt or without one, ready for its first turn, or go on with a kept one.

    Tells which provider was chosen and why; fetches the embedded model's weights on first use.

    Args:
        system: the system prompt; None is that of the environment or the config file, where there is no pack.
        parts: what goes with the first message.
        lasting: a person who leaves a question is asked again later.

    Raises:
        PromptStreamError: the pack, the provider, a variable, a tool or the weights cannot be had, or there is a
            conversation of the name to be saved, or none of the one to be resumed.
    """
    person = Person.present(events=flags.events)
    tools = _asked_about(load_tools(flags.tools), flags, person)
    if flags.talkative and tools:
        tell(f"Tools: {', '.join(each.name for each in tools)}", dim=True)
    if flags.resume is None:
        conv = _opened(flags, tools, pack, prompt, flags.ambient.get("system", "") if system is None else system)
    else:
        conv = _resumed(flags, flags.resume, tools, pack, prompt)
    lasting = lasting and person is not None
    return Talk(conv, flags, person, frozenset(each.name for each in tools), lasting=lasting, parts=parts)


def relay_options(
    flags: Flags,
    *,
    pack: str | None,
    prompt: str | None,
    system: str | None,
    quiet: bool = False,
    attended: bool = True,
) -> tuple[Pack | None, dict[str, Any]]:
    """Give the pack and the options that a relay is made with: it opens conversations as :func:`open_talk` does one.

    Each call of a tool waits for the client's word, unless --yes was given; where nobody attends it, only those that
    are declared to. Where it is *quiet*, it does not tell which provider was chosen.

    Raises:
        PromptStreamError: as :func:`open_talk`.
    """
    loaded = None if pack is None else load(pack)
    place = _place(flags, loaded)
    choice = chosen(place, flags.config)
    options = _settings(flags, place, choice, loaded, prompt)
    tools = load_tools(flags.tools)
    options["tools"] = [tool(each, approval=not flags.yes) for each in tools] if attended or flags.yes else tools
    options["variables"] = flags.variables or None
    if loaded is None:
        options["system"] = flags.ambient.get("system", "") if system is None else system
    elif not quiet:
        _doubt(flags.variables, loaded.prompt(prompt))
    if not quiet:
        tell(f"{choice.name} · {place.model or choice.model or 'its default model'} ({choice.reason})", dim=True)
    if choice.name == "local":
        _fetch_weights()
    return loaded, options


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
    place = _place(flags, loaded)
    choice = chosen(place, flags.config)
    settings |= _settings(flags, place, choice, loaded, prompt)
    if loaded is None:
        conv = open_chat(system, variables=flags.variables or None, **settings)
    else:
        conv = open_pack(loaded, prompt, variables=flags.variables, **settings)
    return _ready(conv, flags, place, choice, None if loaded is None else loaded.prompt(prompt))


def _resumed(flags: Flags, name: str, tools: Sequence[Tool], pack: str | None, prompt: str | None) -> Conversation:
    kept = keeping.find(name)
    origin = kept.state.get("origin")
    origin = origin if isinstance(origin, Mapping) else {}
    file = pack or origin.get("pack")
    loaded = None if file is None else load(file)
    prompt = prompt or (origin.get("prompt") if pack is None else None)
    before = keeping.Setup.of(kept.state.get("metadata"))
    flags = attrs.evolve(flags, variables={**before.variables, **flags.variables})
    place = flags.place
    if before.provider or before.base_url:
        place = Place(before.provider, before.base_url, before.model, "before").under(place)
        if before.base_url and flags.base_url is None and place.base_url == before.base_url:
            _check_address(before)
    else:
        place = _place(flags, loaded)
    choice = chosen(place, flags.config)
    settings = {"tools": tools, "variables": flags.variables or None}
    settings |= _settings(flags, place, choice, loaded, prompt)
    conv = open_kept(name, loaded, prompt, store=keeping.place(), **settings)
    return _ready(conv, flags, place, choice, None if loaded is None else loaded.prompt(prompt))


def _place(flags: Flags, pack: Pack | None) -> Place:
    """Give whom to ask: by the flags, else the pack, else the environment, else the config file."""
    place = ambient_place(flags.config)
    if pack is not None and pack.provider is not None:
        place = place.under(Place(pack.provider.name, None, pack.provider.model, "the pack"))
    return place.under(flags.place)


def _check_address(before: keeping.Setup) -> None:
    """Make sure that a key goes only where this user has sent it: others may write to a server's store."""
    if before.provider and before.base_url and keeping.is_remote(keeping.place()):
        host = urlsplit(before.base_url).hostname or ""
        if not is_loopback(host):
            raise ConfigError(
                f"This conversation was had with {before.provider} at {before.base_url}. A key would go there: if that "
                "is right, give --provider and --base-url again."
            )


def _settings(flags: Flags, place: Place, choice: Choice, pack: Pack | None, prompt: str | None) -> dict[str, Any]:
    parameters = parameters_of(flags.ambient)
    if pack is not None:  # what a pack says is meant for its prompt, and counts more than what is meant for all
        settled = pack.prompt(prompt)
        said = {*settled.parameters}.union(*(each.parameters for each in settled.overrides.values()))
        parameters = {name: value for name, value in parameters.items() if name not in said}
    return {
        **credentials(place, choice, flags.config),
        "model": place.model or choice.model,
        "timeout": flags.timeout,
        "budget": flags.budget,
        "middleware": () if flags.record is None else (Recorder(flags.record),),
        "prices": flags.config.prices,
        "retry": Retry(on_retry=_tell_retry if flags.talkative else None),
        **parameters,
        **flags.parameters,
    }


def _ready(conv: Conversation, flags: Flags, place: Place, choice: Choice, prompt: Prompt | None) -> Conversation:
    """Give *conv* once its first turn can be taken; it is closed where that fails."""
    try:
        if prompt is not None:
            _doubt(flags.variables, prompt)
        _ = conv.system  # a missing variable should not wait for a download
        if flags.talkative:
            tell(f"{conv.provider.name} · {conv.provider.model or 'its own model'} ({choice.reason})", dim=True)
        if conv.provider.name == "local":
            _fetch_weights()
        named = None if place.base_url and not place.provider else choice.name
        setup = keeping.Setup(named, conv.provider.model or None, place.base_url, flags.variables)
        conv.metadata["cli"] = setup.to_dict()
    except BaseException:
        conv.close()
        raise
    return conv


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
