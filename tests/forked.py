"""`casedrop` in a process forked from one that has imported it all: a start takes no time.

The process is a real one, and the program the same; only `exec` and the imports are left out. Where a test needs
those (another clock, a tracer, limits), it starts the interpreter.
"""

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from casedrop.cli import main

PROGRAM = (sys.executable, "-c", "from casedrop.cli import main; main()")

_FORK = multiprocessing.get_context("forkserver")
_LATE = ["httpcore", "encodings.idna", "casedrop.dicom_headers", "casedrop.inspection", "casedrop.outgoing"]
"""What the program, or a library of its, imports only when it is needed, which is nearly always."""
_FORK.set_forkserver_preload(["casedrop.start", "casedrop.service", "forked", *_LATE])


class Forked:
    """As much of subprocess.Popen as tests ask for."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str], *outputs: str | Path) -> None:
        """`outputs` are the file that standard output is appended to, and that of errors if it is another."""
        told = (list(arguments), dict(environ), Path.cwd(), outputs)
        self.args = ["casedrop", *arguments]
        self._process = _FORK.Process(target=_run, args=told)
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """From any thread: it does not ask whether the process lives."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(arguments: Sequence[str], environ: Mapping[str, str], seconds: float = 60) -> tuple[int, str, str]:
    """The exit code, standard output and standard error."""
    with tempfile.NamedTemporaryFile() as output, tempfile.NamedTemporaryFile() as errors:
        process = Forked(arguments, environ, output.name, errors.name)
        try:
            code = process.wait(seconds)
        finally:
            process.kill()
        return code, output.read().decode(), errors.read().decode()


def _run(
    arguments: list[str], environ: dict[str, str], directory: Path, outputs: tuple[str | Path, ...]
) -> None:
    for standard, path in ((1, outputs[0]), (2, outputs[-1])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), standard)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    os.chdir(directory)
    sys.argv = ["casedrop", *arguments]
    try:
        main()
    finally:
        atexit._run_exitfuncs()
