"""The platform as the configuration says to reach it: proxy, password, authorities."""

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from casedrop.config import Settings, read_secret
from casedrop.errors import ConfigurationError
from casedrop.grand_challenge import GrandChallenge, Observer
from casedrop.journal import NAME, Journal
from casedrop.route import Route, named_by_environment, of_environment

UNKNOWN_PROXY = (
    "HTTPS_PROXY (or ALL_PROXY) in the environment: must be an address like http://proxy.example.org:3128; "
    "others, such as socks5://, cannot be used. platform.proxy goes before it."
)


def platform(
    settings: Settings, token: Callable[[], str], observe: Observer = lambda *_: None
) -> GrandChallenge:
    """Raises ConfigurationError."""
    return GrandChallenge(settings.platform.url, token, observe, route(settings))


def route(settings: Settings) -> Route:
    """Raises ConfigurationError with all that is wrong, which shows no password."""
    wanted, problems = settings.platform, list[str]()
    proxy, credentials = wanted.proxy or of_environment(), None
    if not proxy and named_by_environment() and wanted.url.startswith("https:"):
        problems.append(UNKNOWN_PROXY)
    if wanted.proxy_credentials_file:
        credentials = _credentials(wanted.proxy_credentials_file, problems)
        if not proxy:
            problems.append(
                "platform.proxy_credentials_file: there is no proxy; set platform.proxy, or HTTPS_PROXY in the "
                "environment."
            )
    if wanted.ca_file:
        _expect_certificate(wanted.ca_file, problems)
    if problems:
        raise ConfigurationError(problems)
    return Route(proxy, credentials, wanted.ca_file)


def _credentials(path: Path, problems: list[str]) -> tuple[str, str] | None:
    text = read_secret(path, problems, what="the proxy's user and password")
    user, colon, password = text.partition(":")
    if text and not (user and colon and password):
        problems.append(f"{path}: must hold the user and the password for the proxy, as user:password.")
        return None
    return user, password


def _expect_certificate(path: Path, problems: list[str]) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        problems.append(f"{path}: holds no certificate. platform.ca_file is a file of PEM certificates.")
    except OSError as error:
        problems.append(f"{path}: the certificates of platform.ca_file cannot be read: {error.strerror}.")


def secrets(settings: Settings) -> list[str]:
    """Passwords of proxies, which no log may show. Raises ConfigurationError."""
    found = route(settings)
    named = [urlsplit(f"//{one.rpartition('://')[2]}").password or "" for one in getproxies().values()]
    return [*named, *(found.credentials or ())[1:]]


def words(settings: Settings) -> str:
    """The hosts that must be reachable. Raises ConfigurationError."""
    host, kept = urlsplit(settings.platform.url).netloc, settings.state.directory / NAME
    storage = ""
    if os.path.exists(kept):
        journal = Journal(kept, looking=True)
        storage = journal.storage
        journal.close()
    way = route(settings)
    stored = "the host of its storage, which is known after the first upload"
    if storage:
        stored = f"{storage} (its storage, by the last upload){_through(way, storage)}"
    direct = settings.platform.url.startswith("http:")
    proxy = "" if direct else _through(way, host)
    return f"Must be reachable: {host} (the platform){proxy} and {stored}."


def _through(way: Route, host: str) -> str:
    proxy = way.through(host)
    return f" through the proxy {proxy}" if proxy else ""
