"""A region in, DashScope's address there out; an address of either of its protocols, that of the other out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from promptstream.errors import ConfigError, ProviderError
from promptstream.values.names import nearest

COMPATIBLE = "/compatible-mode/v1"
NATIVE = "/api/v1"
VARIABLE = "DASHSCOPE_HTTP_BASE_URL"
HOSTS: Mapping[str, str] = {
    "cn": "dashscope.aliyuncs.com",
    "intl": "dashscope-intl.aliyuncs.com",
    "us": "dashscope-us.aliyuncs.com",
    "hk": "cn-hongkong.dashscope.aliyuncs.com",
}
_PATHS = re.compile(rf"({re.escape(COMPATIBLE)}|{re.escape(NATIVE)})?/*$")


def chosen_url(base_url: str | None, region: str | None, path: str) -> str:
    """Give the base URL with *path* for what the user named: an address, a region, or a variable; else China's.

    Raises:
        ConfigError: both are given, or there is no such region.
    """
    if base_url and region is not None:
        raise ConfigError("region= and base_url= are both given; give one of them.")
    if region is not None:
        if region not in HOSTS:
            raise ConfigError(f"region={region!r:.40}: give one of {', '.join(HOSTS)}.{nearest(str(region), HOSTS)}")
        return f"https://{HOSTS[region]}{path}"
    if base_url:
        return _with_path(base_url, path) if _is_alibabas(base_url) else base_url
    # Alibaba's own variable holds the address of the native protocol.
    if url := os.environ.get(VARIABLE):
        return _with_path(url, path)
    return f"https://{HOSTS['cn']}{path}"


def _with_path(url: str, path: str) -> str:
    return _PATHS.sub(path, url, count=1)


def _is_alibabas(url: object) -> bool:
    try:
        host = urlsplit(url).hostname if isinstance(url, str) else None
    except ValueError:
        return False
    return host is not None and f".{host}".endswith(".aliyuncs.com")


def told_of_regions(error: ProviderError, base_url: str) -> ProviderError:
    """Add to the error of a refused key that keys are good in one region only."""
    host = urlsplit(base_url).hostname
    if _is_alibabas(base_url):
        error.message += (
            f" A key is good in its own region only, and this went to {host}: "
            f"name another with region= ({', '.join(HOSTS)}) or base_url=."
        )
        error.args = (error.message,)
    return error
