"""What is sent, and by whom: each row of the table."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import peers
from packing import ct

HERE = Path(__file__).parent
GCAPI, OURS = "gcapi", "casedrop"
SUMMED_BEFORE = "casedrop, checksums made before"
BY_DEFAULT = "casedrop, as by default (4 at once)"
IN_MEMORY = "casedrop, state in memory"
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """`contenders`: the command of each, in which URL and DATA stand for the platform and what is to be sent.

    `beside` is the one that the others are compared with; `latency`, seconds, is added to each request.
    """

    title: str
    make: Callable[[Path], None]
    contenders: dict[str, list[str]]
    beside: str = GCAPI
    latency: float = 0.0
    tls: bool = True
    geometry: tuple[int, ...] = (256, 256, 128)

    @property
    def told(self) -> str:
        """The title and how far the platform is."""
        return self.title + (f", {1000 * self.latency:.0f} ms added to each request" if self.latency else "")


def ours(*arguments: str) -> list[str]:
    return [sys.executable, str(HERE / "peer_casedrop.py"), *arguments]


def _peer(script: str, *arguments: str) -> list[str]:
    return [str(peers.PYTHON), str(HERE / script), *arguments]


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


def cases(count: int) -> Callable[[Path], None]:
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
"""A file system that keeps nothing on a disk (tmpfs), so that no write waits there."""
FAR = 0.03
"""Seconds a request, as to another country."""
AS_IT_IS = "deidentify=send-identifiable"
QUIET = "quiet=10"
"""Seconds, a third of the default: headers are read in the second half of the quiet period."""


def rows(scale: float) -> dict[str, Row]:
    """By their names; `scale` is how much of each row's files."""

    def few(count: int) -> int:
        return max(1, round(count * scale))

    summed, before = ours("files", "URL", "DATA", "on"), ours("files", "URL", "DATA", "off")
    sent = {"gcapi": _peer("peer_gcapi.py", "files", "URL", "DATA")}
    curl = {"pycurl": _peer("peer_raw.py", "curl", "URL", "DATA")}
    large = {OURS: summed, SUMMED_BEFORE: before, **sent, **curl}
    of_folders = {GCAPI: _peer("peer_gcapi.py", "cases", "URL", "DATA")}
    wide = ours("cases", "URL", "DATA", IMAGE, *WIDE)
    found = {
        "file": Row(f"1 file of {few(1024)} MiB, TLS", files(1, few(1024) * MIB), large),
        "files": Row(f"{few(32)} files of 32 MiB, TLS", files(few(32), 32 * MIB), large),
        "plain": Row(
            f"{few(32)} files of 32 MiB, plain http",
            files(few(32), 32 * MIB),
            {SUMMED_BEFORE: before, "sendfile": _peer("peer_raw.py", "sockets", "URL", "DATA"), **curl},
            beside="sendfile",
            tls=False,
        ),
        "small": Row(
            f"{few(2000)} files of 64 KiB, each an upload, 32 at once",
            files(few(2000), MIB >> 4),
            {
                OURS: ours("small", "URL", "DATA", "32"),
                "httpx alone": [sys.executable, str(HERE / "peer_httpx.py"), "URL", "DATA", "32"],
                **sent,
            },
            latency=FAR,
        ),
        "cases": Row(
            f"{few(100)} cases of one image of 8 MiB and one value, settled to filed away",
            cases(few(100)),
            {f"{OURS}, 16 at once": wide, BY_DEFAULT: ours("cases", "URL", "DATA", IMAGE), **of_folders},
            latency=FAR,
        ),
        "journal": Row(
            f"{few(100)} such cases, beside Casedrop with journal, ledger and status in memory",
            cases(few(100)),
            {OURS: wide, IN_MEMORY: [*wide, f"state={MEMORY}"]},
            beside=IN_MEMORY,
            latency=FAR,
        ),
    }
    for count in (200, 2000):
        for latency in (0.0, FAR):
            found[f"series-{count}-{latency * 1000:.0f}"] = Row(
                f"CT series of {few(count)} slices of 64 KiB, settled to filed away (gcapi sends it as it is)",
                series(few(count)),
                {
                    OURS: ours("cases", "URL", "DATA", DICOM, QUIET),
                    f"{OURS}, sent as it is": ours("cases", "URL", "DATA", DICOM, QUIET, AS_IT_IS),
                    **of_folders,
                },
                latency=latency,
                geometry=(180, 180, few(count)),
            )
    return found
