"""What has no peer: how soon the service is there, what it costs while nothing happens, and how memory grows.

A few lines for each row, all in this machine's seconds and megabytes. All rows take about ten minutes, and 3 GB in
the temporary directory (TMPDIR).
"""

import fcntl
import json
import logging
import os
import shutil
import signal
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

import given
from casedrop import opening, roots, settle, watch
from casedrop.config import load
from casedrop.logs import Names
from casedrop.model import Json
from casedrop.service import Service
from peer_casedrop import configured, settled
from rows import DICOM, HERE, IMAGE, Row, files, ours, rows, series
from run import Lab

PROGRAM = [sys.executable, "-c", "from casedrop.cli import main; main()"]
IDLE_SECONDS = 30
START_SECONDS = 60
MIB = 1 << 20


def place(top: Path, url: str, quiet: float = 30) -> Path:
    """A root and a configuration; its path."""
    roots.init(top / "lung")
    (top / "state").mkdir(mode=0o700)
    return configured(top, url, image=IMAGE, quiet=quiet)


def fill(folder: Path, folders: int, each: int) -> None:
    for number in range(folders):
        made = folder / f"P{number:05}"
        made.mkdir()
        for file in range(each):
            (made / f"{file:05}.mha").touch()


def fill_with_links(folder: Path, folders: int, each: int) -> None:
    """Many names of few files: to make an inode takes ext4 up to a millisecond, a name a hundredth of that."""
    for number in range(folders):
        made = folder / f"P{number:05}"
        made.mkdir()
        first = made / "00000.mha"
        first.touch()
        for file in range(1, each):
            os.link(first, made / f"{file:05}.mha")


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
        heard.settimeout(START_SECONDS)
        log = config.parent / "log"
        with (
            log.open("wb") as errors,
            subprocess.Popen([*PROGRAM, "run", "--as-root"], env=environ, stderr=errors) as process,
        ):
            try:
                while b"READY=1" not in heard.recv(4096):
                    pass
                yield process, time.perf_counter() - began
            except TimeoutError:
                sys.exit(f"The service does not start: {log.read_text()[-2000:]}")
            finally:
                process.kill()


def _status(process: subprocess.Popen[bytes], field: str) -> float:
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.partition(f"{field}:")[2].split()[0]) / 1024


def _cpu(process: subprocess.Popen[bytes]) -> float:
    """Seconds, to the nanosecond, of all threads that there are."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in threads) / 1e9


def _help(_: Path, __: str) -> str:
    """How long `casedrop --help` takes."""
    took = []
    for _try in range(5):
        began = time.perf_counter()
        subprocess.run([*PROGRAM, "--help"], check=True, stdout=subprocess.DEVNULL)
        took.append(time.perf_counter() - began)
    return f"casedrop --help: {statistics.median(took):.2f} s"


def _ready(top: Path, url: str) -> str:
    """How long a service takes to be ready."""
    config = place(top, url)
    fill(top / "lung" / "drop", 100, 100)
    with service(config) as (_, took):
        return f"ready with 10,000 files waiting: {took:.2f} s"


def _waiting(top: Path, url: str) -> str:
    """Its memory over 100,000 files that wait."""
    config = place(top, url, quiet=3600)
    fill_with_links(top / "lung" / "drop", 100, 1000)
    with service(config) as (process, _):
        time.sleep(IDLE_SECONDS)
        return f"100,000 files waiting: {_status(process, 'VmHWM'):.0f} MB at most"


def _idle(top: Path, url: str) -> str:
    """Its processor time while nothing happens."""
    config = place(top, url)
    fill_with_links(top / "lung" / "done", 100, 1000)
    with service(config) as (process, _):
        time.sleep(5)
        before = _cpu(process)
        time.sleep(IDLE_SECONDS)
        used = (_cpu(process) - before) / IDLE_SECONDS
        return f"idle, 100,000 files under done/: {used:.2%} of a core over {IDLE_SECONDS} s"


def _look(top: Path, _: str) -> str:
    """A look at 2000 files, beside the system calls alone that it cannot do without, by processor time."""
    fill(top, 1, 2000)
    folder = str(top / "P00000")
    there = watch.file_system(folder)
    listing = watch.list_folder(folder, there)
    work: dict[str, Callable[[], object]] = {
        "look": lambda: settle.signature(watch.list_folder(folder, there)),
        "stat": lambda: _bare_stats(folder),
        "asked": lambda: watch.writers(folder, listing),
        "leases": lambda: _bare_leases(folder),
    }
    took: dict[str, list[float]] = {name: [] for name in work}
    for _try in range(20):
        for name, do in work.items():
            began = time.process_time()
            do()
            took[name].append(1000 * (time.process_time() - began))
    least = {name: min(all_tries) for name, all_tries in took.items()}
    return (
        f"a look at 2000 files: {least['look']:.1f} ms, scandir and stat alone {least['stat']:.1f} ms: "
        f"{least['look'] / least['stat']:.1f} times; leases once {least['asked']:.1f} ms, "
        f"open and lease alone {least['leases']:.1f} ms: {least['asked'] / least['leases']:.1f} times"
    )


def _bare_stats(folder: str) -> None:
    with os.scandir(folder) as found:
        for one in found:
            one.stat(follow_symlinks=False)


def _bare_leases(folder: str) -> None:
    for name in os.listdir(folder):
        descriptor = os.open(f"{folder}/{name}", opening.FLAGS)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        os.close(descriptor)


def _first_byte(top: Path, url: str) -> str:
    """From the end of the quiet period to the first byte that is sent."""
    config = place(top, url, quiet=1)
    at: dict[str, float] = {}

    def allow(count: int, _: Callable[[], None]) -> int:
        at.setdefault("byte", watch.boot_clock())
        return count

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
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
    quiet = settled(running.drops[0].scanner)
    thread.join()
    return f"settled to the first byte of a case of 20 MB: {at['byte'] - quiet:.2f} s"


def _overlap(top: Path, _: str) -> str:
    """Two series beside one: twice as long if the next were packed only once the one before is there."""
    took = {}
    for count in (1, 2):
        data = top / str(count)
        data.mkdir()
        series(200, count)(data)
        row = Row("", series(200, count), {}, latency=0.3, geometry=(180, 180, 200))
        took[count] = Lab(top).run(row, ours("cases", "URL", "DATA", DICOM), data)["wall"]
    return (
        f"two series of 200 slices, 300 ms a request: {took[2]:.1f} s, one {took[1]:.1f} s: "
        f"{took[2] / took[1]:.2f} times"
    )


def _growth(top: Path, _: str) -> str:
    """Memory by the size and by the number of files; a series goes through the whole service."""
    sizes = {
        f"one file of {size} MiB": Row("", files(1, size * MIB), {"": ours("files", "URL", "DATA", "on")})
        for size in (1, 2048)
    }
    counts = {
        f"{count} files of 64 KiB": Row("", files(count, MIB >> 4), {"": ours("small", "URL", "DATA", "32")})
        for count in (100, 2000)
    }
    few, many = rows(0.5)["series-200-0"], rows(1)["series-2000-0"]
    slices = {f"series of {one.geometry[-1]} slices": one for one in (few, many)}
    return "\n".join(_peaks(top, pair) for pair in (sizes, counts, slices))


def _peaks(top: Path, pair: dict[str, Row]) -> str:
    peaks = {}
    for name, row in pair.items():
        data = top / name
        data.mkdir()
        row.make(data)
        peaks[name] = Lab(top).run(row, next(iter(row.contenders.values())), data)["peak"]
        shutil.rmtree(data)
    (less, low), (more, high) = peaks.items()
    return f"memory for {more} {high:.0f} MB, for {less} {low:.0f} MB: {high / low:.2f} times"


@contextmanager
def _watcher(way: str, root: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "ignore", str(HERE / "watchers.py"), way, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def _told(process: subprocess.Popen[str]) -> Json:
    """What it says once nothing stirs any more."""
    assert process.stdin
    assert process.stdout
    process.stdin.close()
    return json.loads(process.stdout.readline())


def _watching(top: Path, _: str) -> str:
    """Processor time to hear of a copy, beside raw inotify; names that were missed."""
    fill(top, 1, 2000)
    source, took = top / "P00000", dict[str, list[float]](wake=[], raw=[])
    for turn in range(5):
        for way, found in took.items():
            found.append(_of_a_copy(way, source, top / f"{way}-{turn}"))
    heard, least = (statistics.median(found) for found in took.values())
    with_looks = _of_a_copy("scan", source, top / "scan")
    return (
        f"watching a copy of 2000 files: {heard:.2f} s of processor time, raw inotify {least:.2f} s: "
        f"{heard / least:.1f} times; with all looks until 12 s later {with_looks:.2f} s\n"
        f"names the scanner missed: {_missed_in_bursts(top)} in nested bursts, {_missed_after_overflow(top)}"
    )


def _of_a_copy(way: str, source: Path, root: Path) -> float:
    (root / "drop").mkdir(parents=True)
    with _watcher(way, root) as process:
        subprocess.run(["cp", "-r", source, root / "drop"], check=True)
        used: float = _told(process)["cpu"]
    shutil.rmtree(root)
    return used


def _missed_in_bursts(top: Path) -> str:
    """Folders in folders that are made as quickly as can be, ten files in each."""
    root = top / "bursts"
    (root / "drop").mkdir(parents=True)
    with _watcher("scan", root) as process:
        for burst in range(100):
            folder = root / "drop" / f"P{burst:05}"
            for name in "abcd":
                folder /= name
                folder.mkdir(parents=True)
                for file in range(10):
                    (folder / f"{file}.mha").touch()
        return _missed(root, _told(process))


def _missed_after_overflow(top: Path) -> str:
    """The watching process is stopped while more happens than the kernel keeps for it."""
    root = top / "overflow"
    folder = root / "drop" / "P00000"
    folder.mkdir(parents=True)
    with _watcher("scan", root) as process:
        process.send_signal(signal.SIGSTOP)
        for file in range(9000):
            (folder / f"{file}.mha").touch()
        process.send_signal(signal.SIGCONT)
        told = _told(process)
        over = "after the queue ran over" if told["overflow"] else "though the queue DID NOT run over"
        return f"{_missed(root, told)} {over}"


def _missed(root: Path, told: Json) -> str:
    there = {str(one.relative_to(root / "drop")) for one in (root / "drop").glob("*/**/*.mha")}
    return f"{len(there - set(told['names']))} of {len(there)}"


ROWS = {
    "help": _help,
    "ready": _ready,
    "look": _look,
    "watching": _watching,
    "first-byte": _first_byte,
    "overlap": _overlap,
    "growth": _growth,
    "waiting": _waiting,
    "idle": _idle,
}


def main() -> None:
    about = {name: str(do.__doc__).splitlines()[0] for name, do in ROWS.items()}
    asked = given.parser(__doc__, about).parse_args().rows
    with given.place():
        for name in asked or ROWS:
            with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as work:
                lab = Lab(Path(directory))
                os.environ["SSL_CERT_FILE"] = str(lab.authority)
                with lab.platform(Row("", files(1, 1), {}, geometry=(256, 256, 305))) as url:
                    print(ROWS[name](Path(work), url), flush=True)


if __name__ == "__main__":
    main()
