"""`casedrop run` in a process forked from one that has imported it all: a start takes no time."""

import multiprocessing
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from casedrop.config import load
from casedrop.start import serve
from casedrop.watch import ignore_lease_signals

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["casedrop.start", "casedrop.service"])


def service(
    config: Path, log: Path, *, once: bool, environ: Mapping[str, str] = MappingProxyType({})
) -> None:
    """To be the target of a process of FORK; `environ` is laid over that of the tests."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    ignore_lease_signals()
    os.environ.update(environ)
    os._exit(serve(load(config, os.environ), os.environ, once=once, debug=False))
