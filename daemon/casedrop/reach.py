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
from casedrop.route import Route, of_environment


def platform(
    settings: Settings, token: Callable[[], str], connections: int = 16, observe: Observer = lambda *_: None
) -> GrandChallenge:
    """Raises ConfigurationError."""
    return GrandChallenge(settings.platform.url, token, connections, observe, route(settings))


def route(settings: Settings) -> Route:
    """Raises ConfigurationError with all that is wrong, which shows no password."""
    wanted, problems = settings.platform, list[str]()
    proxy, credentials = wanted.proxy, None
    if wanted.proxy_credentials_file:
        credentials = _credentials(wanted.proxy_credentials_file, problems)
        proxy = proxy or of_environment()
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
    named = [urlsplit(one).password or "" for one in getproxies().values()]
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
    return f"Must be reachable: {host} (the platform){_through(way, host)} and {stored}."


def _through(way: Route, host: str) -> str:
    proxy = way.through(host)
    return f" through the proxy {proxy}" if proxy else ""
