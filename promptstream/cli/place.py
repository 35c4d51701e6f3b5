"""What says whom to ask (a flag, a pack, the environment, the config file) in, whom to ask out."""

from __future__ import annotations

import attrs


@attrs.frozen
class Place:
    """Say whom to ask: a provider, where it is, and which of its models; None where that is not said."""

    provider: str | None = None
    base_url: str | None = None
    """Alone, that of an OpenAI-compatible server."""
    model: str | None = None
    source: str = "--provider"
    """What says the provider, as a person knows it."""

    def under(self, stronger: Place) -> Place:
        """Give what *stronger*, where it says something, leaves of this.

        A provider, its address and its model belong together: no key goes to an address, and no model's name to a
        provider, that it was not meant for.
        """
        other = stronger.provider is not None or stronger.base_url is not None
        if other and (stronger.provider is None or stronger.provider != self.provider):
            return stronger
        return Place(
            self.provider,
            stronger.base_url or self.base_url,
            stronger.model or self.model,
            stronger.source if stronger.provider else self.source,
        )
