"""A question about an account or its models in, the provider's answer out: one request, one JSON body."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from promptstream.errors import StreamError, Unsupported
from promptstream.exchange import fetch_json, prepare
from promptstream.providers.base import Dialect, Lister
from promptstream.values.request import ModelInfo
from promptstream.values.timing import Timeout
from promptstream.wire.gate import Gate
from promptstream.wire.retry import Retries
from promptstream.wire.watch import Watch

if TYPE_CHECKING:
    from promptstream.values.account import Credits, Generation
    from promptstream.wire.transport import Transport


class Queries:
    """Ask a provider about itself; any thread may."""

    dialect: Dialect
    timeout: Timeout
    _gate: Gate | None
    _retries: Retries
    _get_transport: Callable[[], Transport]

    def models(self) -> list[ModelInfo]:
        """List the models the provider offers.

        Raises:
            Unsupported: it cannot list them.
            StreamError: the list did not come.
        """
        if "models" not in self.dialect.capabilities or not isinstance(self.dialect, Lister):
            raise Unsupported(f"{_who(self.dialect)} cannot list its models.")
        listed: list[ModelInfo] = self._query("models")
        return listed

    def credits(self) -> Credits:
        """Tell the account's credit in USD, where the provider does (OpenRouter).

        Raises:
            Unsupported: it does not.
            StreamError: the answer did not come.
        """
        credit: Credits = self._known("credits")()
        return credit

    def generation(self, id: str) -> Generation:
        """Tell what became of one answer, by its ``request_id``, where the provider does (OpenRouter).

        It may be NotFound for a moment after the stream has ended.

        Raises:
            Unsupported: the provider does not.
            ConfigError: *id* is not an id.
            StreamError: the answer did not come.
        """
        told: Generation = self._known("generation")(id)
        return told

    def _known(self, name: str) -> Callable[..., Any]:
        if name not in self.dialect.queries:
            raise Unsupported(f"{_who(self.dialect)} has no {name}().")
        return partial(self._query, name)

    def _query(self, name: str, *args: Any, **options: Any) -> Any:
        """Make the unary call *name* of the dialect and give what it decodes of the answer."""
        dialect = self.dialect
        watch = Watch(self.timeout)
        watch.start()
        try:
            with nullcontext() if self._gate is None else self._gate.place(watch):
                prepare(dialect, watch)
                call = getattr(dialect, f"{name}_call")(*args, **options)
                body = fetch_json(dialect, self._get_transport, self._retries, call, watch)
            return getattr(dialect, f"decode_{name}")(body)
        except StreamError as error:
            from promptstream.wire.secrecy import clear_frames  # brings ssl, which the request has loaded by now

            clear_frames(error)  # one of them holds the body, which may quote a key
            raise
        finally:
            watch.end()


def _who(dialect: Dialect) -> str:
    """Give what a dialect is called where it goes by the name of another."""
    return getattr(dialect, "title", dialect.name)
