"""The way to the platform and its storage: whom to trust, through which proxy, and what it means when it fails."""

import os
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from casedrop.config_checks import is_loopback
from casedrop.errors import SetupProblem, Unavailable, Unclear

DATED, OTHER_HOST = (9, 10), (62, 64)
"""OpenSSL's verify codes: not valid yet or any more; a certificate of another name or address."""


@dataclass(frozen=True, slots=True)
class Route:
    """`proxy` is for https alone and goes before that of HTTPS_PROXY; what NO_PROXY names is reached directly.

    `ca_file` (PEM) is trusted beside the system's authorities, which are OpenSSL's own: httpx would take those it
    brings along, which know nothing of the lab's.
    """

    proxy: str = ""
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    ca_file: Path | None = None

    def client(self) -> httpx.Client:
        """Follows no redirects. Raises OSError where `ca_file` holds no certificate.

        What is not encrypted stays on this machine, so it goes through no proxy.
        """
        tls = _trusting(self.ca_file)
        mounts = {}
        if named := self.proxy or of_environment():
            own = tls if named.startswith("https:") else None
            proxy = httpx.Proxy(named, auth=self.credentials, ssl_context=own)
            direct = httpx.HTTPTransport(verify=tls)
            through = httpx.HTTPTransport(verify=tls, proxy=proxy)
            mounts["https://"] = _ByHost(self, direct, through)
        timeout = httpx.Timeout(60, connect=10)
        return httpx.Client(timeout=timeout, verify=tls, mounts=mounts, trust_env=False)

    def through(self, host: str) -> str:
        """The proxy by which https goes to `host` (with its port, where it has one), "" where there is none."""
        proxy = self.proxy or of_environment()
        return "" if not proxy or _is_excepted(host) else urlsplit(proxy).netloc.rpartition("@")[2]


class Clients:
    """Each is lent to one thread at a time, so that there are no more connections than requests at once.

    One that many threads share looks at every connection that idles, before each request. The last one given back
    goes out first, while its connection still holds.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._idle = [route.client()]

    @contextmanager
    def lent(self) -> Iterator[httpx.Client]:
        try:
            client = self._idle.pop()
        except IndexError:
            client = self._route.client()
        try:
            yield client
        finally:
            self._idle.append(client)

    def close(self) -> None:
        """All that are not lent."""
        while self._idle:
            self._idle.pop().close()


class _ByHost(httpx.BaseTransport):
    """httpx's own reading of NO_PROXY fails for an IPv6 address in brackets, and differs from others'."""

    def __init__(self, route: Route, direct: httpx.HTTPTransport, through: httpx.HTTPTransport) -> None:
        self._route, self._direct, self._through = route, direct, through

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        way = self._through if self._route.through(_place(str(request.url))) else self._direct
        return way.handle_request(request)

    def close(self) -> None:
        self._direct.close()
        self._through.close()


def _is_excepted(host: str) -> bool:
    """Whether NO_PROXY names it; an IPv6 address stands there with brackets or without."""
    named = getproxies()
    return any(proxy_bypass(one, named) for one in (host, re.sub(r"[][]", "", host)))


def of_environment() -> str:
    """The proxy for https that the environment names, "" where it names none that can be used."""
    proxy = named_by_environment()
    try:
        parts = urlsplit(proxy)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    return proxy if usable else ""


def named_by_environment() -> str:
    """As it stands there, with its scheme."""
    named = getproxies()
    proxy = named.get("https") or named.get("all") or ""
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


@lru_cache(maxsize=8)
def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    """One for all clients: reading the system's authorities takes longer than all else of a start."""
    tls = ssl.create_default_context()
    if ca_file:
        tls.load_verify_locations(ca_file)
    return tls


@contextmanager
def line(route: Route, host: str, address: str, *, writes: bool) -> Iterator[None]:
    """`host` is "platform" or "storage". The library's errors hold addresses, so no text of theirs goes on."""
    if host == "storage":
        _expect_encrypted(address)
    try:
        yield
    except httpx.ProxyError as error:
        status = re.match(r"\d{3}", str(error))
        refused_on_the_way(route, host, address, int(status[0]) if status else 0)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        _not_connected(route, host, address, error)
    except (httpx.TransportError, httpx.StreamError):
        if writes:
            raise Unclear("The line broke before the platform's answer came.", answered=False) from None
        raise Unavailable(f"The line to the {host} broke.", host) from None
    except httpx.InvalidURL:
        raise Unavailable(f"The {host} gave an address that cannot be read.", host) from None


def _expect_encrypted(address: str) -> None:
    """That of the platform is the configuration's. Raises Unavailable."""
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise Unavailable("The platform gave an address of its storage that cannot be read.", "storage")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise Unavailable(
            f"The platform names an address without encryption for its storage ({_place(address)}), and images "
            "would cross the network for all to read, so nothing goes there. Ask those who run it for https.",
            "storage",
        )


def _not_connected(route: Route, host: str, address: str, error: BaseException) -> NoReturn:
    name, proxy = _place(address), route.through(_place(address))
    through = f" through the proxy {proxy}" if proxy and address.startswith("https:") else ""
    start = f"No connection to the {host} ({name}){through}: "
    untrusted = _untrusted(error)
    if untrusted and host == "platform":
        raise SetupProblem(f"{start}{untrusted}.") from None
    raise Unavailable(f"{start}{untrusted or _cause(error)}.", host) from None


def refused_on_the_way(route: Route, host: str, address: str, status: int) -> NoReturn:
    """A proxy or firewall has answered in place of the host. What only people can mend is SetupProblem.

    Of the storage it is Unavailable, too: the drop would be looked at, found well, and held again.
    """
    name = _place(address)
    proxy = f"The proxy {route.through(name)}" if route.through(name) else "A proxy or firewall on the way"
    if status == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
        text = f"{proxy} asks for a user and a password that are right: see platform.proxy_credentials_file."
    elif status == httpx.codes.FORBIDDEN:
        text = (
            f"{proxy} does not let this server through to the {host} ({name}). Ask those who run it to allow "
            f"{name}; it is not Grand Challenge that refuses."
        )
    else:
        answered = f": it answered {status}" if status else ""
        raise Unavailable(f"{proxy} does not reach the {host} ({name}){answered}.", host) from None
    raise (SetupProblem(text) if host == "platform" else Unavailable(text, host)) from None


def _place(address: str) -> str:
    """Its host and port, without a user or password."""
    return urlsplit(address).netloc.rpartition("@")[2]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _untrusted(error: BaseException) -> str:
    """Why its certificate is not trusted and what to do; "" where that is not the cause."""
    found = next((one for one in _chain(error) if isinstance(one, ssl.SSLCertVerificationError)), None)
    if found is None:
        return ""
    why = found.verify_message.rstrip(".")
    if found.verify_code in DATED:
        return f"its certificate is out of date ({why}); is this server's clock right"
    if found.verify_code in OTHER_HOST:
        return f"its certificate is another host's ({why}); something on the way answers in its place"
    return (
        f"its certificate is not trusted ({why}). Where a proxy or your own authority signs it, name that "
        "authority's certificate with platform.ca_file, or add it to the system's (update-ca-certificates)"
    )


def _cause(error: BaseException) -> str:
    """Why no connection came about, in words of the system's that hold no address."""
    for one in _chain(error):
        if isinstance(one, ssl.SSLError):
            return f"the secure connection failed ({one.reason or 'no TLS there'})"
        if isinstance(one, socket.gaierror):
            return "its name is not known"
        if isinstance(one, OSError) and one.errno:
            return os.strerror(one.errno).lower()
    return "no answer"
