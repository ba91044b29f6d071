"""Casedrop's own way: files as `upload` sends them, or whole folders by the service."""

import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from casedrop import roots
from casedrop.config import Settings, load
from casedrop.grand_challenge import GrandChallenge
from casedrop.logs import Names
from casedrop.model import PlannedFile, PlannedSocket, Procedure
from casedrop.prepare import opener, prepare
from casedrop.scan import Scanner
from casedrop.service import Service
from casedrop.upload import Lane, Source, upload_all
from casedrop.watch import boot_clock
from planned import planned
from timed import timed

CONNECTIONS, CASES = 16, 4
"""As `limits` are by default."""

CONFIG = """
[platform]
url = "{url}"
[state]
directory = "{top}/state"
[settle]
quiet_seconds = {quiet}
[limits]
cases = {cases}
connections = {connections}
[[drops]]
name = "lung"
root = "{top}/lung"
reader_study = "lung-2026"
deidentify = "{deidentify}"
[[drops.sockets]]
socket = "ct-image"
{image}
[[drops.sockets]]
socket = "some-score"
value_from = {{ json = "score.json", pointer = "" }}
required = false
"""


def files(url: str, folder: str, checks: str) -> None:
    """`checks` "on": as shipped, the checksums are part of it; "off": they are made beforehand."""
    platform = GrandChallenge(url, lambda: "0" * 64)
    window = CONNECTIONS // CASES
    lane = Lane(platform, ThreadPoolExecutor(window), ThreadPoolExecutor(CONNECTIONS), window, lambda: None)
    found = [_planned(path) for path in sorted(Path(folder).iterdir())]
    if checks == "off":
        found = [_summed(folder, file) for file in found]

    def send() -> None:
        summed = found if checks == "off" else [_summed(folder, file) for file in found]
        sources = [partial(_source, folder, file) for file in summed]
        upload_all(lane, sources, {}, lambda *_: None)

    timed(send)


def _source(folder: str, file: PlannedFile) -> Source:
    return Source(file, opener(folder, file), lambda _: None)


def _planned(path: Path) -> PlannedFile:
    found = os.stat(path)
    return PlannedFile(
        path.name, path.name, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
    )


def _summed(folder: str, file: PlannedFile) -> PlannedFile:
    socket = PlannedSocket("some-file", "File", file.path, files=(file,))
    return prepare(folder, socket, lambda: None, lambda one: one).files[0]


def small(url: str, folder: str, workers: str) -> None:
    """Every file by itself, so many at a time."""
    count = int(workers)
    platform = GrandChallenge(url, lambda: "0" * 64)
    parts = ThreadPoolExecutor(count)
    lane = Lane(platform, parts, parts, 2, lambda: None)

    def send(path: Path) -> None:
        summed = _summed(folder, _planned(path))
        upload_all(lane, [partial(_source, folder, summed)], {}, lambda *_: None)

    with ThreadPoolExecutor(count) as threads:
        timed(lambda: list(threads.map(send, sorted(Path(folder).iterdir()))))


def configured(place: Path, url: str, **options: str | float) -> Path:
    """Its configuration, with the shipped values of `limits` unless said."""
    shipped = {"cases": CASES, "connections": CONNECTIONS, "deidentify": "grand-challenge", "quiet": 1}
    (place / "casedrop.toml").write_text(CONFIG.format_map({"url": url, "top": place} | shipped | options))
    return place / "casedrop.toml"


def cases(url: str, top: str, image: str, *options: str) -> None:
    """Each folder of `top` by the service: from the moment the first has settled until all are filed away.

    `options` are NAME=VALUE, of `configured`; `state` is where the state directory is made.
    """
    given = dict(option.split("=") for option in options)
    within = given.pop("state", None)
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory(dir=within) as state:
        config = configured(Path(place), url, image=image, **given)
        roots.init(Path(place) / "lung")
        (Path(place) / "state").symlink_to(state)
        for folder in Path(top).iterdir():
            shutil.copytree(folder, Path(place) / "lung" / "drop" / folder.name)
        _run(load(config, {}), len(list(Path(top).iterdir())), dicom="dicom" in image)


def _run(settings: Settings, count: int, *, dicom: bool) -> None:
    """The workers have been started by an earlier series, as in a service that has been there for a while."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable()
    service = Service(settings, lambda: "0" * 64, Names("plain", b""))
    for folder in (Path(settings.drops[0].root) / "drop").iterdir() if dicom else []:
        few = planned(folder, Procedure())
        service.packer.pack(0, str(folder), replace(few, packed=few.packed[:8]), lambda: None)
    thread = threading.Thread(target=service.run, kwargs={"once": True})
    thread.start()
    time.sleep(max(settled(service.drops[0].scanner) - boot_clock(), 0))
    timed(thread.join)
    root = Path(settings.drops[0].root)
    done = [path for path in (root / "done").iterdir() if path.is_dir()]
    if len(done) != count:
        failed = [path.read_text() for path in (root / "failed").glob("*.reason.txt")]
        sys.exit(f"Only {len(done)} of {count} are done. {failed[:1]}")


def settled(scanner: Scanner) -> float:
    """When the quiet period of the first folder ends (boot clock)."""
    while scanner.latest is None:
        time.sleep(0.01)
    return min(one.since for one in scanner.latest.findings) + scanner.limits.quiet_seconds


WAYS: dict[str, Callable[..., None]] = {"files": files, "small": small, "cases": cases}

if __name__ == "__main__":
    WAYS[sys.argv[1]](*sys.argv[2:])
