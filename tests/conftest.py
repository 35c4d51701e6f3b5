"""What every test may use: a clean environment, the loopback server, certificates, and the recorded data."""

from __future__ import annotations

import gc
import itertools
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

_VARIABLES = (
    *("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENROUTER_API_KEY"),
    *("DASHSCOPE_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OPENROUTER_BASE_URL", "DASHSCOPE_BASE_URL"),
    *("GEMINI_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "OLLAMA_HOST", "OLLAMA_API_KEY", "NETRC", "PROMPTSTREAM_API_KEY"),
    *("DASHSCOPE_HTTP_BASE_URL", "PROMPTSTREAM_STORE", "PROMPTSTREAM_PROVIDER", "PROMPTSTREAM_MODEL"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)


_ran = itertools.count(1)


def pytest_collection_finish() -> None:
    """Let no later collection look at what pytest itself holds: 20,000 tests would make each take a second."""
    gc.collect()
    gc.freeze()


def pytest_runtest_logfinish() -> None:
    """Do the same for what it has gathered of the tests that ran."""
    if next(_ran) % 500 == 0:
        pytest_collection_finish()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide keys, addresses, proxies and certificates of the machine that runs the tests."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROMPTSTREAM_CONFIG", os.devnull)


@pytest.fixture
def no_price_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be without the extra that lists prices: costs are the wire's alone."""
    monkeypatch.setattr("promptstream.pricing.is_listed_here", lambda: False)


@pytest.fixture(scope="session")
def model_file() -> Path:
    """The embedded model's weights, fetched once into the user's cache; skipped where they cannot be had."""
    from promptstream.errors import ConfigError
    from promptstream.providers.local import llama_server, weights

    if not llama_server.available():
        pytest.skip("xllamacpp is not installed (extra local)")
    try:
        return weights.install()
    except ConfigError as error:
        pytest.skip(f"the embedded model's weights cannot be fetched: {error}")


@pytest.fixture(scope="session")
def conformance_data() -> Path:
    """The directory of recorded streams, SSE cases and packs that others wrote."""
    default = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("PROMPTSTREAM_CONFORMANCE_DATA", default))
    if not path.is_dir():
        pytest.skip(f"the conformance data is not at {path}; set PROMPTSTREAM_CONFORMANCE_DATA to where it is")
    return path


@pytest.fixture
def server() -> Iterator[Callable[..., Any]]:
    """Make loopback servers: ``server(script)``; all are closed at the end."""
    from server import Server

    servers: list[Server] = []
    with ExitStack() as stack:

        def make(*args: Any, **options: Any) -> Server:
            made = stack.enter_context(Server(*args, **options))
            servers.append(made)
            return made

        yield make
    for each in servers:
        assert not each.failures, f"a script of the test server failed: {each.failures}"


class Certificates:
    """Hold an authority, the path of its certificate, and a server context for loopback signed by it."""

    def __init__(self, directory: Path) -> None:
        import trustme

        self.authority = trustme.CA()
        self.bundle = str(directory / "ca.pem")
        self.authority.cert_pem.write_to_path(self.bundle)
        self.context = self.context_for("127.0.0.1", "localhost", "example.invalid")

    def context_for(self, *names: str) -> ssl.SSLContext:
        """Make a server context with a certificate for *names*."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*names).configure_cert(context)
        return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority of our own, for TLS on loopback."""
    pytest.importorskip("trustme", reason="trustme is not installed (it comes with the extra test)")
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls_server(server: Callable[..., Any], certificates: Certificates) -> Callable[..., Any]:
    """Make loopback servers as *server* does, on TLS."""
    return lambda *args, **options: server(*args, tls=certificates.context, **options)
