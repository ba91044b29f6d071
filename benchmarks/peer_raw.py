"""The wire's limits: the same calls by pycurl, and by nothing but sockets and sendfile."""

import io
import json
import os
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from timed import timed

PART = 8 << 20
CHUNK = 1 << 20
THREADS = 4
BATCH = 16


class Curl:
    """One handle a thread, which keeps its connections."""

    def __init__(self, url: str) -> None:
        import pycurl  # noqa: PLC0415

        self._pycurl = pycurl
        self._url = url
        self._own = threading.local()

    def _handle(self) -> Any:
        if not hasattr(self._own, "handle"):
            self._own.handle = self._pycurl.Curl()
        self._own.handle.reset()
        self._own.handle.setopt(self._pycurl.CAINFO, os.environ["SSL_CERT_FILE"])
        return self._own.handle

    def ask(self, method: str, path: str, body: Any) -> Any:
        handle, found = self._handle(), io.BytesIO()
        handle.setopt(self._pycurl.URL, self._url + path)
        handle.setopt(self._pycurl.CUSTOMREQUEST, method)
        handle.setopt(self._pycurl.POSTFIELDS, json.dumps(body))
        handle.setopt(self._pycurl.WRITEDATA, found)
        handle.perform()
        return json.loads(found.getvalue())

    def put(self, url: str, path: str, start: int, size: int) -> None:
        handle, left = self._handle(), size
        with Path(path).open("rb", buffering=0) as source:
            source.seek(start)

            def read(most: int) -> bytes:
                nonlocal left
                found = source.read(min(most, left))
                left -= len(found)
                return found

            handle.setopt(self._pycurl.URL, url)
            handle.setopt(self._pycurl.UPLOAD, 1)
            handle.setopt(self._pycurl.INFILESIZE_LARGE, size)
            handle.setopt(self._pycurl.UPLOAD_BUFFERSIZE, CHUNK)
            handle.setopt(self._pycurl.READFUNCTION, read)
            handle.setopt(self._pycurl.HTTPHEADER, ["Expect:"])
            handle.perform()


class Sockets:
    """Plain HTTP alone."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._own = threading.local()

    def _line(self, netloc: str) -> HTTPConnection:
        lines = self._own.__dict__.setdefault("lines", {})
        if netloc not in lines:
            lines[netloc] = HTTPConnection(netloc)
            lines[netloc].connect()
            lines[netloc].sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return lines[netloc]  # type: ignore[no-any-return]

    def ask(self, method: str, path: str, body: Any) -> Any:
        line = self._line(self._parts.netloc)
        line.request(method, self._parts.path + path, json.dumps(body))
        return json.loads(line.getresponse().read())

    def put(self, url: str, path: str, start: int, size: int) -> None:
        parts = urlsplit(url)
        line = self._line(parts.netloc)
        line.putrequest("PUT", parts.path)
        line.putheader("Content-Length", str(size))
        line.endheaders()
        with Path(path).open("rb") as source:
            while size:
                count = os.sendfile(line.sock.fileno(), source.fileno(), start, size)
                start, size = start + count, size - count
        line.getresponse().read()


def files(way: Curl | Sockets, folder: str) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        timed(lambda: _all(way, threads, sorted(Path(folder).iterdir())))


def _all(way: Curl | Sockets, threads: ThreadPoolExecutor, paths: list[Path]) -> None:
    for path in paths:
        _file(way, threads, path)


def _file(way: Curl | Sockets, threads: ThreadPoolExecutor, path: Path) -> None:
    size = path.stat().st_size
    made = way.ask("POST", "uploads/", {"filename": path.name})
    address = f"uploads/{made['pk']}/{made['s3_upload_id']}/"
    starts = range(0, size, PART)
    urls: dict[str, str] = {}
    for first in range(0, len(starts), BATCH):
        numbers = [number + 1 for number in range(first, min(first + BATCH, len(starts)))]
        asked = way.ask("PATCH", f"{address}generate-presigned-urls/", {"part_numbers": numbers})
        urls |= asked["presigned_urls"]
    send = partial(_part, way, str(path), size)
    list(threads.map(send, starts, (urls[str(number + 1)] for number in range(len(starts)))))
    parts = [{"ETag": "", "PartNumber": number + 1} for number in range(len(starts))]
    way.ask("PATCH", f"{address}complete-multipart-upload/", {"parts": parts})


def _part(way: Curl | Sockets, path: str, size: int, start: int, url: str) -> None:
    way.put(url, path, start, min(PART, size - start))


if __name__ == "__main__":
    files(Curl(sys.argv[2]) if sys.argv[1] == "curl" else Sockets(sys.argv[2]), sys.argv[3])
