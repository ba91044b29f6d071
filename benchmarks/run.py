"""Casedrop beside its peers, in one run, in turns: a table to read, and JSON.

    python benchmarks/run.py [ROW ...] [--runs 3] [--scale 1.0] [--json FILE]

Everything is on this machine: a platform that forgets what it is sent (sink.py), over TLS unless a row says plain.
Peers get an environment of their own on the first run (gcapi pins an old httpx), in benchmarks/.peers. Ratios
count; the seconds are this machine's.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from packing import ct

HERE = Path(__file__).parent
PEERS = HERE / ".peers"
OURS = "casedrop"
MIB = 1 << 20

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """`contenders`: the command of each, in which URL and DATA stand for the platform and what is to be sent."""

    title: str
    make: Callable[[Path], None]
    contenders: dict[str, list[str]]
    latency: float = 0.0
    tls: bool = True
    geometry: tuple[int, ...] = (256, 256, 128)


def ours(*arguments: str) -> list[str]:
    return [sys.executable, str(HERE / "peer_casedrop.py"), *arguments]


def _peer(script: str, *arguments: str) -> list[str]:
    return [str(PEERS / "bin" / "python"), str(HERE / script), *arguments]


def files(count: int, size: int) -> Callable[[Path], None]:
    def make(top: Path) -> None:
        for number in range(count):
            with (top / f"{number:05}.mha").open("wb") as file:
                for _ in range(0, size, MIB):
                    file.write(os.urandom(min(MIB, size)))

    return make


def series(count: int, folders: int = 1) -> Callable[[Path], None]:
    """So many slices in each folder."""

    def make(top: Path) -> None:
        for one in range(1, folders + 1):
            folder = top / f"P{one:03}"
            folder.mkdir()
            for number in range(1, count + 1):
                (folder / f"{number:05}.dcm").write_bytes(ct(one * count + number, side=180))

    return make


def _cases(count: int) -> Callable[[Path], None]:
    """Of one image of 8 MiB and one value."""

    def make(top: Path) -> None:
        header = "NDims = 3\nDimSize = 256 256 128\nElementSpacing = 0.7 0.7 1\nElementType = MET_UCHAR\n"
        for number in range(count):
            folder = top / f"P{number:03}"
            folder.mkdir()
            voxels = os.urandom(MIB) * 8
            (folder / "ct.mha").write_bytes(header.encode() + b"ElementDataFile = LOCAL\n" + voxels)
            (folder / "score.json").write_text("1.5")

    return make


DICOM = 'dicom = { Modality = "CT" }'
IMAGE = 'files = "*.mha"'
WIDE = ("cases=16", "connections=32")
MEMORY = "/dev/shm"
"""A file system that keeps nothing on a disk (tmpfs), so that fsync costs nothing there."""
AS_IT_IS = "deidentify=send-identifiable"
QUIET = "quiet=10"
"""Seconds, a third of the default: headers are read in the second half of the quiet period."""


def rows(scale: float) -> dict[str, Row]:
    def few(count: int) -> int:
        return max(1, round(count * scale))

    found = {
        "file": Row(
            "1 file of 1 GiB, TLS",
            files(1, few(1024) * MIB),
            {
                OURS: ours("files", "URL", "DATA", "on"),
                "casedrop, checks off": ours("files", "URL", "DATA", "off"),
                "gcapi": _peer("peer_gcapi.py", "files", "URL", "DATA"),
                "pycurl": _peer("peer_raw.py", "curl", "URL", "DATA"),
            },
        ),
        "files": Row(
            "32 files of 32 MiB, TLS",
            files(few(32), 32 * MIB),
            {
                OURS: ours("files", "URL", "DATA", "on"),
                "casedrop, checks off": ours("files", "URL", "DATA", "off"),
                "gcapi": _peer("peer_gcapi.py", "files", "URL", "DATA"),
                "pycurl": _peer("peer_raw.py", "curl", "URL", "DATA"),
            },
        ),
        "plain": Row(
            "32 files of 32 MiB, plain http",
            files(few(32), 32 * MIB),
            {
                "casedrop, checks off": ours("files", "URL", "DATA", "off"),
                "sendfile": _peer("peer_raw.py", "sockets", "URL", "DATA"),
                "pycurl": _peer("peer_raw.py", "curl", "URL", "DATA"),
            },
            tls=False,
        ),
        "small": Row(
            "2000 files of 64 KiB, each an upload, 30 ms",
            files(few(2000), MIB >> 4),
            {
                OURS: ours("small", "URL", "DATA", "32"),
                "httpx alone": [sys.executable, str(HERE / "peer_httpx.py"), "URL", "DATA", "32"],
                "gcapi": _peer("peer_gcapi.py", "files", "URL", "DATA"),
            },
            latency=0.03,
        ),
        "cases": Row(
            "100 cases of one 8 MiB image and one value, settled to filed away, 30 ms",
            _cases(few(100)),
            {
                OURS: ours("cases", "URL", "DATA", IMAGE, *WIDE),
                "casedrop, as configured by default": ours("cases", "URL", "DATA", IMAGE),
                "gcapi": _peer("peer_gcapi.py", "cases", "URL", "DATA"),
            },
            latency=0.03,
        ),
        "journal": Row(
            "the same 100 cases, beside one whose journal, ledger and status lie in memory, where no write waits",
            _cases(few(100)),
            {
                OURS: ours("cases", "URL", "DATA", IMAGE, *WIDE),
                "casedrop, state in memory": ours("cases", "URL", "DATA", IMAGE, *WIDE, f"state={MEMORY}"),
            },
            latency=0.03,
        ),
    }
    for count in (200, 2000):
        for latency in (0.0, 0.03):
            found[f"series-{count}-{latency * 1000:.0f}"] = Row(
                f"CT series of {count} slices of 64 KiB, settled to attached, {latency * 1000:.0f} ms",
                series(few(count)),
                {
                    OURS: ours("cases", "URL", "DATA", DICOM, QUIET),
                    "casedrop, not de-identified": ours("cases", "URL", "DATA", DICOM, QUIET, AS_IT_IS),
                    "gcapi, not de-identified": _peer("peer_gcapi.py", "cases", "URL", "DATA"),
                },
                latency=latency,
                geometry=(180, 180, few(count)),
            )
    return found


@dataclass(slots=True)
class Lab:
    """The certificate, and where peers live."""

    directory: Path
    certificate: Path = field(init=False)
    authority: Path = field(init=False)

    def __post_init__(self) -> None:
        made = trustme.CA()
        self.certificate, self.authority = self.directory / "server.pem", self.directory / "ca.pem"
        made.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(self.certificate)
        made.cert_pem.write_to_path(self.authority)

    @contextmanager
    def platform(self, row: Row) -> Iterator[str]:
        """Its address."""
        command = [
            sys.executable,
            str(HERE / "sink.py"),
            str(self.certificate) if row.tls else "",
            str(row.latency),
        ]
        command += map(str, row.geometry)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sink:
            assert sink.stdin
            assert sink.stdout
            yield sink.stdout.readline().strip()
            sink.stdin.close()

    def run(self, row: Row, command: list[str], data: Path) -> Figures:
        with self.platform(row) as url:
            given = [{"URL": url, "DATA": str(data)}.get(word, word) for word in command]
            environ = os.environ | {"SSL_CERT_FILE": str(self.authority)}
            done = subprocess.run(given, env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(given)}\n{done.stderr[-2000:]}")
        figures: Figures = json.loads(done.stdout.splitlines()[-1])
        return figures


def peers() -> None:
    """Their environment, made once."""
    if not PEERS.exists():
        venv.create(PEERS, with_pip=True)
        pip = [str(PEERS / "bin" / "pip"), "install", "--quiet", "--upgrade", "gcapi", "pycurl"]
        subprocess.run(pip, check=True)


def measure(lab: Lab, row: Row, runs: int) -> dict[str, Figures]:
    """Medians of each contender. They take turns, so that what else the machine does meets all alike."""
    found: dict[str, list[Figures]] = {name: [] for name in row.contenders}
    data = Path(tempfile.mkdtemp(dir=lab.directory))
    row.make(data)
    for _ in range(runs):
        for name, command in row.contenders.items():
            found[name].append(lab.run(row, command, data))
    shutil.rmtree(data)
    return {
        name: {key: statistics.median(one[key] for one in all_runs) for key in all_runs[0]}
        for name, all_runs in found.items()
    }


def table(row: Row, medians: dict[str, Figures]) -> Iterator[str]:
    yield f"\n{row.title}"
    yield f"  {'':36}{'wall s':>10}{'CPU s':>10}{'peak MB':>10}   ours to theirs: wall, CPU, peak"
    first = next(iter(medians.values()))
    for name, one in medians.items():
        ratios = [f"{first[key] / one[key]:.2f}" for key in ("wall", "cpu", "peak")]
        yield f"  {name:36}{one['wall']:10.3f}{one['cpu']:10.2f}{one['peak']:10.0f}   {', '.join(ratios)}"


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(rows(1)))
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--scale", type=float, default=1.0, help="how much of each row's files")
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    known, told = rows(given.scale), {}
    peers()
    with tempfile.TemporaryDirectory() as directory:
        lab = Lab(Path(directory))
        for name in given.rows or known:
            told[name] = measure(lab, known[name], given.runs)
            print("\n".join(table(known[name], told[name])), flush=True)
    if given.json:
        given.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
