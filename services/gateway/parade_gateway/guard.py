"""What keeps web pages of others out: the name a request asks for, and the page it comes from.

A page elsewhere can make a browser send requests to this machine, and by DNS rebinding even read the answers. So on the loopback
interface the Host must be one of ours, and a request that a browser made for another site's page is refused unless that site is listed.
"""

import ipaddress
from collections.abc import Collection, Mapping
from functools import lru_cache

from parade.wire.errors import Reason
from parade_gateway.errors import HttpError

_FOREIGN = ("cross-site", "same-site")


class Guard:
    """The two checks."""

    def __init__(self, listen: str, hosts: Collection[str], origins: Collection[str]) -> None:
        """Takes where the gateway listens, the further names it is known by, and the origins whose pages may call it."""
        self._checks_host = bool(hosts) or is_loopback(listen)
        self._hosts = {host.lower() for host in hosts}
        self._origins = frozenset(origins)
        self._is_ours = lru_cache(64)(self._names_us)

    def admit(self, headers: Mapping[str, str], *, navigable: bool) -> None:
        """Lets a request through.

        Args:
            headers: The request's headers.
            navigable: Whether the path is a page that a link elsewhere may lead to.

        Raises:
            HttpError: 403 where it is refused.
        """
        host = headers.get("host", "")
        if self._checks_host and not (self._is_ours(host) if len(host) < 256 else self._names_us(host)):
            raise HttpError(
                403, Reason.PERMISSION_DENIED, f"this gateway is not known as {host or 'nothing'}; PARADE_GATEWAY_HOSTS lists its names"
            )
        origin = headers.get("origin")
        if origin is not None:
            foreign = origin not in self._origins and origin.partition("://")[2].lower() != host.lower()
        else:
            foreign = headers.get("sec-fetch-site") in _FOREIGN and not (navigable and headers.get("sec-fetch-mode") == "navigate")
        if foreign:
            source = origin or "another site"
            raise HttpError(
                403, Reason.PERMISSION_DENIED, f"pages of {source} may not call; PARADE_GATEWAY_CORS_ORIGINS lists those that may"
            )

    def _names_us(self, host: str) -> bool:
        name = host_name(host).lower()
        return name == "localhost" or name in self._hosts or _is_loopback_address(name)


def host_name(address: str) -> str:
    """Returns the host of `host:port`, without the brackets of IPv6."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.rpartition(":")[0] if address.rpartition(":")[2].isdecimal() and ":" in address else address


def is_loopback(address: str) -> bool:
    """Tells whether `host:port` is on the loopback interface."""
    name = host_name(address)
    return name == "localhost" or _is_loopback_address(name)


def _is_loopback_address(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
