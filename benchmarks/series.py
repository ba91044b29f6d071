"""A whole series as one zip against file by file, over a near and a far line.

    python benchmarks/series.py [FILES ...]

For each number of files (200 and 1000 unless given) of 512 KB and each round trip (0 and 30 ms): seconds from the
folder to uploads that are complete on the local Grand Challenge, de-identifying included. File by file is what
a script around a client does: one file after the other, each de-identified, then sent.
"""

import io
import queue
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from casedrop.deidentify import deidentify
from casedrop.grand_challenge import GrandChallenge
from casedrop.model import PlannedFile, Procedure
from casedrop.pack import Packer
from casedrop.reading import Sums, part_size
from casedrop.sandbox import Sandbox
from casedrop.slices import Deidentified
from casedrop.upload import Lane, Source, upload
from packing import ct, planned

ROUND_TRIPS = (0.0, 0.03)
WORKERS, WINDOW = 2, 4
PIECE = 1 << 18
KEY = bytes(32)


class FarLine:
    """A line to `port` on which each byte takes half of `round_trip` seconds, however many are under way."""

    def __init__(self, port: int, round_trip: float) -> None:
        self._to, self._delay = port, round_trip / 2
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listening.accept()
            far = socket.create_connection(("127.0.0.1", self._to))
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, target in ((near, far), (far, near)):
                under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(256)
                threading.Thread(target=self._take, args=(source, under_way), daemon=True).start()
                threading.Thread(target=_give, args=(target, under_way), daemon=True).start()

    def _take(self, source: socket.socket, under_way: "queue.Queue[tuple[float, bytes]]") -> None:
        piece = b"begin"
        while piece:
            try:
                piece = source.recv(PIECE)
            except OSError:
                piece = b""
            under_way.put((time.monotonic() + self._delay, piece))


def _give(target: socket.socket, under_way: "queue.Queue[tuple[float, bytes]]") -> None:
    while True:
        due, piece = under_way.get()
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            if not piece:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(piece)
        except OSError:
            return


Send = Callable[[PlannedFile, Callable[[], "io.RawIOBase | io.BytesIO"]], None]


def one_zip(packer: Packer, folder: Path, file: PlannedFile, send: Send) -> None:
    made = packer.pack(1, str(folder), file, lambda: None)
    send(made, lambda: packer.open(1, made))


def file_by_file(_: Packer, folder: Path, file: PlannedFile, send: Send) -> None:
    """All in memory, nothing is put on a disk first."""
    for source in file.packed:
        found = deidentify((folder / source.path).read_bytes(), Procedure(), KEY, alone=False)
        assert isinstance(found, Deidentified)
        sums = Sums(part_size(len(found.data)))
        sums.add(found.data)
        single = replace(
            file,
            size=len(found.data),
            sha256=sums.sha256,
            part_size=sums.part_size,
            md5s=sums.md5s,
            packed=(),
            procedure=None,
        )
        send(single, partial(io.BytesIO, found.data))


def seconds(way: Callable[..., None], folder: Path, round_trip: float) -> float:
    with (
        tempfile.TemporaryDirectory() as spool,
        Sandbox() as sandbox,
        ThreadPoolExecutor(WINDOW) as threads,
    ):
        sandbox.furnish()
        port = urlsplit(sandbox.url).port
        assert port is not None
        line = FarLine(port, round_trip).port if round_trip else port
        url = sandbox.url.replace(f":{port}/", f":{line}/")
        lane = Lane(GrandChallenge(url, lambda: sandbox.token), threads, WINDOW, lambda: None)
        packer = Packer(Path(spool), KEY, WORKERS)
        file = planned(folder, Procedure())
        packer.pack(0, str(folder), replace(file, packed=file.packed[:8]), lambda: None)

        def send(made: PlannedFile, opened: Callable[[], io.RawIOBase | io.BytesIO]) -> None:
            upload(lane, Source(made, opened, lambda _: None), None, lambda _: None)

        began = time.monotonic()
        way(packer, folder, file, send)
        took = time.monotonic() - began
        packer.close()
        return took


def main() -> None:
    for count in [int(text) for text in sys.argv[1:]] or [200, 1000]:
        with tempfile.TemporaryDirectory() as top:
            folder = Path(top)
            for number in range(1, count + 1):
                (folder / f"{number:05}").write_bytes(ct(number))
            for round_trip in ROUND_TRIPS:
                whole, single = (seconds(way, folder, round_trip) for way in (one_zip, file_by_file))
                print(
                    f"{count} files, {round_trip * 1000:.0f} ms: one zip {whole:.1f} s, "
                    f"file by file {single:.1f} s ({single / whole:.1f} times as long)"
                )


if __name__ == "__main__":
    main()
