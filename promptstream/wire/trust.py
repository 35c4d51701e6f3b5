"""``verify=``, ``cert=`` and the environment in, the files that TLS is to trust and to show out."""

from __future__ import annotations

import os

from promptstream.errors import ConfigError

BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def trusted(verify: bool | str | None) -> bool | str:
    """Give the CA bundle to trust: *verify*, else the first that the environment names, else True for certifi's.

    Raises:
        ConfigError: the file does not exist.
    """
    if verify is not None:
        return _existing(verify, "verify=") if isinstance(verify, str) else verify
    for name in BUNDLES:
        if path := os.environ.get(name):
            return _existing(path, name)
    return True


def shown(cert: str | tuple[str, str] | None) -> str | tuple[str, str] | None:
    """Give the client certificate to show, a path or a pair of certificate and key.

    Raises:
        ConfigError: a file does not exist.
    """
    for path in (cert,) if isinstance(cert, str) else cert or ():
        _existing(path, "cert=")
    return cert


def _existing(path: str, source: str) -> str:
    if not os.path.exists(path):
        raise ConfigError(f"{source} names {path!r:.200}, which does not exist.")
    return path
