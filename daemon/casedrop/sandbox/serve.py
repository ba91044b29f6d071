"""`casedrop sandbox`: a local Grand Challenge to try rules against."""

import signal
from collections.abc import Iterable

from casedrop.errors import ConfigurationError
from casedrop.sandbox.server import Sandbox

HELLO = """A local Grand Challenge answers at {url} (Ctrl-C ends it; nothing is kept).
What it holds: {index} (in a browser; open to everyone who works on this machine).

Reader studies:{studies}

Archives:{archives}

Sockets:{sockets}

To use it:

export CASEDROP_PLATFORM__TOKEN={token}

[platform]
url = "{url}"
"""


def serve(port: int) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        made = Sandbox(port)
    except OSError as error:
        raise ConfigurationError([f"Port {port} of 127.0.0.1 cannot be used ({error.strerror})."]) from None
    with made as sandbox:
        sandbox.furnish()
        print(_hello(sandbox), flush=True)  # noqa: T201
        try:
            sandbox.join()
        except KeyboardInterrupt:
            return


def _hello(sandbox: Sandbox) -> str:
    state = sandbox.state
    return HELLO.format(
        url=sandbox.url,
        index=sandbox.index,
        token=sandbox.token,
        studies=_lines(state.studies),
        archives=_lines(state.archives),
        sockets=_lines(f"{one.slug} ({one.kind})" for one in state.sockets.values()),
    )


def _lines(names: Iterable[str]) -> str:
    return "".join(f"\n  {name}" for name in names)
