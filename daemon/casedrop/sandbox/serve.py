"""`casedrop sandbox`: a local Grand Challenge to try rules against."""

from casedrop.sandbox.server import Sandbox

HELLO = """A local Grand Challenge answers at {url} (Ctrl-C ends it; nothing is kept).
Its reader study lung-2026 has the sockets ct-image, airway-segmentation, some-score, report-pdf
and findings-json. To use it:

export CASEDROP_PLATFORM__TOKEN={token}

[platform]
url = "{url}"
"""


def serve(port: int) -> None:
    with Sandbox(port) as sandbox:
        sandbox.furnish()
        print(HELLO.format(url=sandbox.url, token=sandbox.token), flush=True)  # noqa: T201
        try:
            sandbox.join()
        except KeyboardInterrupt:
            return
