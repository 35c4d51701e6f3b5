"""Every fact of the contract is asked of every provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from provider_server import ProviderServer
from wires import WIRES, Wire


@pytest.fixture(params=list(WIRES))
def wire(request: pytest.FixtureRequest) -> Wire:
    """One provider, from the server's side."""
    return WIRES[request.param]


@pytest.fixture
def serve(wire: Wire) -> Iterator[Callable[..., ProviderServer]]:
    """Start servers of the provider: ``serve(*answers)``; all are closed, and heard, at the end."""
    with ExitStack() as stack:

        def start(*answers: Any, **options: Any) -> ProviderServer:
            return stack.enter_context(ProviderServer(wire, *answers, **options))

        yield start
