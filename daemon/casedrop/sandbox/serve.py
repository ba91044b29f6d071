"""`casedrop sandbox`: a local Grand Challenge to try rules against."""

import signal

from casedrop.errors import ConfigurationError
from casedrop.sandbox.server import Sandbox

HELLO = """A local Grand Challenge answers at {url} (Ctrl-C ends it; nothing is kept).
It has the reader studies lung-2026 and my-reader-study, and these sockets:{sockets}

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
        sockets = "".join(f"\n  {one.slug} ({one.kind})" for one in sandbox.state.sockets.values())
        print(HELLO.format(url=sandbox.url, token=sandbox.token, sockets=sockets), flush=True)  # noqa: T201
        try:
            sandbox.join()
        except KeyboardInterrupt:
            return
