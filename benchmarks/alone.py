"""What has no peer: how soon the service is there, what it costs while nothing happens, and how memory grows.

    python benchmarks/alone.py [ROW ...]

One line for each row, all in this machine's seconds and megabytes.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from casedrop import roots, settle, watch
from casedrop.config import load
from casedrop.logs import Names
from casedrop.service import Service
from peer_casedrop import CONFIG
from run import IMAGE, Lab, Row, files, ours

PROGRAM = [sys.executable, "-c", "from casedrop.cli import main; main()"]
IDLE_SECONDS = 30
TICKS = os.sysconf("SC_CLK_TCK")


def place(top: Path, url: str, quiet: float = 30) -> Path:
    """A root and a configuration; its path."""
    config = top / "casedrop.toml"
    config.write_text(CONFIG.format(url=url, top=top, image=IMAGE, cases=4, connections=16, quiet=quiet))
    roots.init(top / "lung")
    (top / "state").mkdir(mode=0o700)
    return config


def fill(folder: Path, folders: int, each: int) -> None:
    for number in range(folders):
        made = folder / f"P{number:05}"
        made.mkdir()
        for file in range(each):
            (made / f"{file:05}.mha").touch()


@contextmanager
def service(config: Path) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """One that is ready, and how long that took."""
    address = str(config.parent / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(address)
        began = time.perf_counter()
        environ = os.environ | {
            "NOTIFY_SOCKET": address,
            "CASEDROP_PLATFORM__TOKEN": "0" * 64,
            "CASEDROP_CONFIG": str(config),
        }
        with subprocess.Popen([*PROGRAM, "run", "--as-root"], env=environ, stderr=sys.stderr) as process:
            while b"READY=1" not in heard.recv(4096):
                pass
            yield process, time.perf_counter() - began
            process.kill()


def _status(process: subprocess.Popen[bytes], field: str) -> float:
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.partition(f"{field}:")[2].split()[0]) / 1024


def _cpu(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _help(_: Path, __: str) -> str:
    took = []
    for _try in range(5):
        began = time.perf_counter()
        subprocess.run([*PROGRAM, "--help"], check=True, stdout=subprocess.DEVNULL)
        took.append(time.perf_counter() - began)
    return f"casedrop --help: {statistics.median(took):.2f} s"


def _ready(top: Path, url: str) -> str:
    config = place(top, url)
    fill(top / "lung" / "drop", 100, 100)
    with service(config) as (_, took):
        return f"ready with 10,000 files waiting: {took:.2f} s"


def _waiting(top: Path, url: str) -> str:
    config = place(top, url, quiet=3600)
    fill(top / "lung" / "drop", 100, 1000)
    with service(config) as (process, _):
        time.sleep(IDLE_SECONDS)
        return f"100,000 files waiting: {_status(process, 'VmHWM'):.0f} MB at most"


def _idle(top: Path, url: str) -> str:
    config = place(top, url)
    fill(top / "lung" / "done", 100, 1000)
    with service(config) as (process, _):
        time.sleep(5)
        before = _cpu(process)
        time.sleep(IDLE_SECONDS)
        used = (_cpu(process) - before) / IDLE_SECONDS
        return f"idle, 100,000 files under done/: {used:.2%} of a core over {IDLE_SECONDS} s"


def _look(top: Path, _: str) -> str:
    fill(top, 1, 2000)
    folder, took = str(top / "P00000"), []
    there = watch.file_system(folder)
    for _try in range(20):
        began = time.perf_counter()
        settle.signature(watch.list_folder(folder, there))
        took.append(time.perf_counter() - began)
    listing = watch.list_folder(folder, there)
    began = time.perf_counter()
    watch.writers(folder, listing)
    leases = time.perf_counter() - began
    return f"a look at 2000 files: {1000 * statistics.median(took):.1f} ms, and leases once {1000 * leases:.1f} ms"


def _first_byte(top: Path, url: str) -> str:
    config = place(top, url, quiet=1)
    at: dict[str, float] = {}

    def heard(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        at.setdefault(event["event"], time.perf_counter())
        raise structlog.DropEvent

    def allow(count: int, _: Callable[[], None]) -> int:
        at.setdefault("byte", time.perf_counter())
        return count

    structlog.configure(processors=[heard])
    running = Service(load(config, {}), lambda: "0" * 64, Names("plain", b""))
    for watched in running.drops:
        watched.pipeline.lane = replace(watched.pipeline.lane, allow=allow)
    header = b"NDims = 3\nDimSize = 256 256 305\nElementSpacing = 0.7 0.7 1\nElementType = MET_UCHAR\n"
    folder = top / "lung" / "drop" / "P001"
    folder.mkdir()
    data = header + b"ElementDataFile = LOCAL\n" + os.urandom(256 * 256 * 305)
    (folder / "ct.mha").write_bytes(data)
    thread = threading.Thread(target=running.run, kwargs={"once": True})
    thread.start()
    thread.join()
    return f"settled to the first byte of a case of 20 MB: {1000 * (at['byte'] - at['case begun']):.0f} ms"


def _growth(top: Path, _: str) -> str:
    """Of what sends, by the size and by the number of files."""
    peaks = {}
    for size in (1, 2048):
        row = Row("", files(1, size << 20), {})
        data = top / str(size)
        data.mkdir()
        row.make(data)
        peaks[size] = Lab(top).run(row, ours("files", "URL", "DATA", "on"), data)["peak"]
    ratio = peaks[2048] / peaks[1]
    return f"memory for one file of 2 GiB {peaks[2048]:.0f} MB, of 1 MiB {peaks[1]:.0f} MB: {ratio:.2f} times"


ROWS = {
    "help": _help,
    "ready": _ready,
    "look": _look,
    "first-byte": _first_byte,
    "growth": _growth,
    "waiting": _waiting,
    "idle": _idle,
}


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    for name in arguments.parse_args().rows or ROWS:
        with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as work:
            lab = Lab(Path(directory))
            os.environ["SSL_CERT_FILE"] = str(lab.authority)
            with lab.platform(Row("", files(1, 1), {}, geometry=(256, 256, 305))) as url:
                print(ROWS[name](Path(work), url), flush=True)


if __name__ == "__main__":
    main()
