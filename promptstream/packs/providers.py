"""Where the values of variables come from: callables, asked each turn, go in; one mapping of values comes out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone, tzinfo
from typing import TYPE_CHECKING, Any

from promptstream.errors import ConfigError, VariableInvalid
from promptstream.values.names import nearest

if TYPE_CHECKING:
    from promptstream.packs.pack import Prompt
    from promptstream.packs.variables import Variable

_SECRET = re.compile(
    r"key|token|secret|credential|authoriz|authent|private|bearer|cookie|session|jwt|pwd|dsn|passw|passphrase|passc"
    r"|(?:auth|pass|cert|salt)(?![a-z])|(?<![a-z])(?:pin|sid|pw|certificates?)(?![a-z])",  # author and opinion are none
    re.IGNORECASE,
)
_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/@:]*:[^\s@]+@", re.IGNORECASE)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
           "December")  # fmt: skip
KINDS = ("env", "session", "context", "header")
FILTERS: Mapping[str, Callable[[str], str]] = {
    "lowercase": str.lower,
    "uppercase": str.upper,
    "trim": str.strip,
}


def gathered(sources: Iterable[Mapping[str, Any] | Callable[[], Mapping[str, Any]]]) -> dict[str, Any]:
    """Give the values of all *sources*, of mappings and of providers, which are called; a later one counts over it.

    A value that is a callable without arguments is called too. None never hides the value of an earlier source.
    Call it once a turn, from any thread; the providers must bear that.

    Raises:
        VariableInvalid: a provider or a value failed (``__cause__`` says how), or gave no mapping.
        TypeError: a source is neither.
    """
    values: dict[str, Any] = {}
    for source in sources:
        for name, value in _given(source).items():
            if value is not None or name not in values:
                values[name] = value
    return {name: _called(name, value) if callable(value) else value for name, value in values.items()}


def _given(source: Any) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    if not callable(source):
        raise TypeError(f"variables are {source!r:.80}; give a mapping, or a callable that gives one.")
    name = _name(source)
    try:
        given = source()
    except VariableInvalid:
        raise
    except Exception as error:
        raise VariableInvalid(
            f"The provider of variables {name} failed: {type(error).__name__}: {error!s:.200}"
        ) from error
    if not isinstance(given, Mapping) or not all(isinstance(each, str) for each in given):
        raise VariableInvalid(f"The provider of variables {name} gave {given!r:.80}; it must give a mapping of names.")
    return given


def _called(name: str, value: Callable[[], Any]) -> Any:
    try:
        return value()
    except Exception as error:
        raise VariableInvalid(
            f"The callable that gives the variable {name!r} failed: {type(error).__name__}: {error!s:.200}"
        ) from error


def _name(source: Any) -> str:
    return str(getattr(source, "__qualname__", None) or type(source).__qualname__)


class Clock:
    """Give the time of each turn, as text. Any thread may use it.

    current_date is 2026-03-09, current_time 2026-03-09T17:04:05+01:00, current_hour 17, current_weekday Monday,
    current_month March, current_year 2026.
    """

    def __init__(self, zone: tzinfo | str | None = None, *, now: Callable[[], datetime] | None = None) -> None:
        """Tell the time in *zone*, a ``tzinfo`` or a name such as "Europe/Berlin"; without one, local time.

        *now* gives the time instead of the system's clock; it must know its zone.

        Raises:
            ConfigError: there is no such zone.
            TypeError: *zone* is none, or *now* cannot be called.
        """
        if not isinstance(zone, (str, tzinfo, type(None))):
            raise TypeError(f"zone={zone!r:.60}: give a tzinfo, or a name such as 'Europe/Berlin'.")
        if now is not None and not callable(now):
            raise TypeError(f"now={now!r:.60}: give a function that gives a datetime.")
        self._zone = _zone(zone) if isinstance(zone, str) else zone
        self._now = now or (lambda: datetime.now(timezone.utc))

    def __call__(self) -> dict[str, str]:
        """Give the values of this moment.

        Raises:
            VariableInvalid: ``now`` gives no datetime.
        """
        given = self._now()
        if not isinstance(given, datetime):
            raise VariableInvalid(f"The clock's now= gave {given!r:.60}; it must give a datetime.")
        now = given.astimezone(self._zone)
        return {
            "current_date": f"{now:%Y-%m-%d}",
            "current_time": now.isoformat(timespec="seconds"),
            "current_hour": f"{now:%H}",
            "current_weekday": _WEEKDAYS[now.weekday()],  # in English, whatever the locale
            "current_month": _MONTHS[now.month - 1],
            "current_year": f"{now.year}",
        }


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise ConfigError(
            f"zone={name!r:.60}: there is no such time zone here; give one such as 'Europe/Berlin'."
        ) from error


class Environment:
    """Give environment variables that begin with a prefix: APP_USER_NAME as user_name. Any thread may use it."""

    def __init__(self, prefix: str = "APP_", names: Iterable[str] | None = None) -> None:
        """Give those that begin with *prefix*; with *names*, of them only these, written with or without the prefix.

        What looks like a secret is left out unless *names* has it: by its name (key, token, password, cookie and the
        like), or by its value, an address with a password in it.

        Raises:
            ConfigError: *prefix* is empty and no *names* are given: that would give the whole environment away.
        """
        self._prefix = prefix
        self._names = None if names is None else frozenset([names] if isinstance(names, str) else names)
        if not prefix and self._names is None:
            raise ConfigError("Environment(prefix=''): name the variables to give, by names=[...].")

    def __call__(self) -> dict[str, str]:
        """Give the values of this moment, under lower-case names without the prefix."""
        values = {}
        for variable, value in os.environ.items():
            if variable.startswith(self._prefix) and len(variable) > len(self._prefix):
                name = variable[len(self._prefix) :].lower()
                if self._names is None:
                    wanted = not _SECRET.search(variable) and not _WITH_PASSWORD.search(value)
                else:
                    wanted = not self._names.isdisjoint((variable, variable[len(self._prefix) :], name))
                if wanted:
                    values[name] = value
        return values


class Bindings:
    """Give the variables that a pack binds to a place (``binding``: kind, field, filter). Any thread may use it.

    Only a binding with ``auto_populate`` is followed. One of kind "env" is read where the program lists the
    variable: a file that is passed around must not read the environment, and the keys in it, by itself.
    """

    def __init__(
        self,
        variables: Prompt | Iterable[Variable],
        *,
        env: Iterable[str] = (),
        session: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        header: Mapping[str, Any] | None = None,
    ) -> None:
        """Bind *variables*, or those of a Prompt: *env* names what may be read of the environment.

        The mappings are read anew each turn; the names of *header* in any case.

        Raises:
            ConfigError: a binding is of an unknown kind, has no field or an unknown filter, or reads a variable of
                the environment that *env* does not list.
        """
        self._allowed = frozenset([env] if isinstance(env, str) else env)
        self._places = {"session": session or {}, "context": context or {}, "header": header or {}}
        declared: Any = getattr(variables, "variables", variables)
        self._bound = [each for each in declared if each.binding.get("auto_populate") is True]
        for each in self._bound:
            self._check(each)

    def __call__(self) -> dict[str, Any]:
        """Give the values of this moment; a variable whose place holds nothing is left out.

        Raises:
            VariableInvalid: a filter is for text, and the value is none.
        """
        values = {}
        for each in self._bound:
            kind, field, sieve = (each.binding.get(key) for key in ("kind", "field", "filter"))
            value = self._value(str(kind), str(field or each.name))
            if value is None:
                continue
            if sieve:
                if not isinstance(value, str):
                    raise VariableInvalid(
                        f"The variable {each.name!r} is bound to {value!r:.60}; its filter {sieve!r} is for text."
                    )
                value = FILTERS[sieve](value)
            values[each.name] = value
        return values

    def _value(self, kind: str, field: str) -> Any:
        if kind == "env":
            return os.environ.get(field)
        place = self._places[kind]
        if kind == "header":  # RFC 9110, section 5.1: the names of fields are case-insensitive
            return next((value for name, value in place.items() if str(name).lower() == field.lower()), None)
        return place.get(field)

    def _check(self, variable: Variable) -> None:
        kind, field, sieve = (variable.binding.get(key) for key in ("kind", "field", "filter"))
        told = f"The binding of the variable {variable.name!r}"
        if kind not in KINDS:
            raise ConfigError(
                f"{told} is of kind {kind!r:.60}; known are {', '.join(KINDS)}.{nearest(str(kind), KINDS)}"
            )
        if sieve and sieve not in FILTERS:
            raise ConfigError(
                f"{told} has the filter {sieve!r:.60}; known are {', '.join(FILTERS)}.{nearest(str(sieve), FILTERS)}"
            )
        name = str(field or variable.name)
        if kind == "env" and name not in self._allowed:
            raise ConfigError(f"{told} reads the environment; allow it by Bindings(..., env=[{name!r:.60}]).")
