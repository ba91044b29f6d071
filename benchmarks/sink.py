"""A platform and its storage that forget every byte: as quick as sockets are, so that clients can be compared.

It answers what Casedrop, gcapi and the other peers ask while they upload, in the shapes of the recordings. An
image is there as soon as a display set names its upload. Each connection to the storage has a process of its own,
so that no lock is shared; each connection to the platform a thread.
"""

import base64
import itertools
import json
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import formatdate
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

BUFFER = 1 << 20
SCORE, IMAGE = "some-score", "ct-image"
STUDY = "lung-2026"
JSON = "Content-Type: application/json\r\n"

Json = dict[str, Any]


class Line:
    """One connection: requests one after the other, the head read apart from the body."""

    def __init__(self, connection: socket.socket, latency: float) -> None:
        self._connection = connection
        self._latency = latency
        self._ahead = bytearray()
        self._scratch = memoryview(bytearray(BUFFER))

    def request(self) -> tuple[str, str, dict[str, str], int] | None:
        """Method, target, headers by their small names, and the body's length; None at the end."""
        while (end := self._ahead.find(b"\r\n\r\n")) < 0:
            piece = self._connection.recv(1 << 16)
            if not piece:
                return None
            self._ahead += piece
        first, *lines = self._ahead[:end].decode("latin-1").split("\r\n")
        del self._ahead[: end + 4]
        method, target, _ = first.split(" ")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        return method, target, headers, int(headers.get("content-length", 0))

    def body(self, size: int) -> bytes:
        while len(self._ahead) < size:
            self._ahead += self._connection.recv(BUFFER)
        found = bytes(self._ahead[:size])
        del self._ahead[:size]
        return found

    def forget(self, size: int) -> None:
        left = size - len(self._ahead)
        self._ahead.clear()
        while left > 0:
            count = self._connection.recv_into(self._scratch, min(BUFFER, left))
            if not count:
                raise ConnectionError
            left -= count

    def answer(self, body: bytes, more: str) -> None:
        time.sleep(self._latency)
        date = formatdate(usegmt=True)
        head = f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        self._connection.sendall(head.encode() + body)


class Platform:
    """What it holds, and its answers by path."""

    def __init__(self, storage: str, latency: float, geometry: list[int]) -> None:
        self.url = ""
        self._storage = storage
        self._latency = latency
        self._geometry = geometry
        self._pks = itertools.count(1)
        self.uploads: dict[str, Json] = {}
        self.sets: dict[str, Json] = {}
        self.sessions: dict[str, Json] = {}
        routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", "gcapi/", lambda _: {"latest_version": "0.16.1", "lowest_supported_version": "0.1"}),
            ("GET", "profiles/users/self/", lambda _: {"user": {"username": "benchmark"}}),
            ("GET", "reader-studies/", lambda _: _page([self._study()])),
            ("GET", "components/interfaces/", lambda asked: _page([_socket(asked["slug"])])),
            ("GET", "reader-studies/display-sets/", lambda _: _page([])),
            ("POST", "reader-studies/display-sets/", self._make_set),
            ("GET", "reader-studies/display-sets/([^/]+)/", lambda _, pk: self.sets[pk]),
            ("PATCH", "reader-studies/display-sets/([^/]+)/", self._change_set),
            ("GET", "uploads/", lambda _: {"count": 1, "results": [], "next": None}),
            ("POST", "uploads/", self._make_upload),
            ("GET", "uploads/([^/]+)/", lambda _, pk: self.uploads[pk]),
            ("PATCH", "uploads/([^/]+)/[^/]+/generate-presigned-urls/", self._presign),
            ("GET", "uploads/([^/]+)/[^/]+/list-parts/", lambda _, pk: self.uploads[pk] | {"parts": []}),
            ("PATCH", "uploads/([^/]+)/[^/]+/complete-multipart-upload/", self._complete),
            ("POST", "cases/upload-sessions/", self._make_session),
            ("GET", "cases/upload-sessions/([^/]+)/", lambda _, pk: self.sessions[pk]),
            ("GET", "cases/images/([^/]+)/", lambda _, pk: self._image(pk)),
        ]
        self._routes = [(method, re.compile(path), call) for method, path, call in routes]

    def serve(self, connection: socket.socket) -> None:
        line = Line(connection, self._latency)
        while found := line.request():
            method, target, _, size = found
            body = line.body(size)
            parts = urlsplit(target)
            asked = json.loads(body) if body else {k: v[0] for k, v in parse_qs(parts.query).items()}
            line.answer(self._answer(method, parts.path.removeprefix("/api/v1/"), asked), JSON)

    def _answer(self, method: str, path: str, asked: Json) -> bytes:
        for verb, pattern, call in self._routes:
            if verb == method and (match := pattern.fullmatch(path)):
                return json.dumps(call(asked, *match.groups())).encode()
        raise LookupError(f"{method} {path}")

    def _study(self) -> Json:
        names = ["api_url", "logo", "description", "help_text_safe", "title_safe", "end_of_study_text_safe"]
        names += ["is_educational", "instant_verification", "has_ground_truth", "allow_answer_modification"]
        names += ["enable_autosaving", "allow_case_navigation", "allow_show_all_annotations"]
        names += ["roll_over_answers_for_n_cases"]
        known = {"slug": STUDY, "pk": "1", "url": f"{self.url}study/", "questions": []}
        return dict.fromkeys(names, "") | known

    def _make_upload(self, asked: Json) -> Json:
        pk = str(uuid.uuid4())
        made = {
            "pk": pk,
            "created": datetime.now(UTC).isoformat(),
            "filename": asked["filename"],
            "key": pk,
            "s3_upload_id": "s3",
            "status": "Initialized",
            "api_url": f"{self.url}uploads/{pk}/",
        }
        self.uploads[pk] = made
        return made

    def _presign(self, asked: Json, pk: str) -> Json:
        urls = {str(number): f"{self._storage}{pk}/{number}" for number in asked["part_numbers"]}
        return self.uploads[pk] | {"presigned_urls": urls}

    def _complete(self, _: Json, pk: str) -> Json:
        self.uploads[pk]["status"] = "Completed"
        return self.uploads[pk]

    def _make_set(self, asked: Json) -> Json:
        pk = str(uuid.uuid4())
        made = {
            "pk": pk,
            "title": asked.get("title", ""),
            "title_safe": asked.get("title", ""),
            "reader_study": STUDY,
            "values": [],
            "order": 10,
            "api_url": f"{self.url}reader-studies/display-sets/{pk}/",
            "hanging_protocol": None,
            "optional_hanging_protocols": [],
            "view_content": {},
            "description": "",
            "descriptions_map_safe": {},
            "index": None,
        }
        self.sets[pk] = made
        return made

    def _make_session(self, asked: Json) -> Json:
        pk = str(uuid.uuid4())
        made = {
            "pk": pk,
            "status": "Queued",
            "error_message": None,
            "image_set": [],
            "uploads": asked["uploads"],
        }
        self.sessions[pk] = made | {"api_url": f"{self.url}cases/upload-sessions/{pk}/"}
        return self.sessions[pk]

    def _change_set(self, asked: Json, pk: str) -> Json:
        found = self.sets[pk]
        if asked.get("title"):
            found |= {"title": asked["title"], "title_safe": asked["title"]}
        found["values"] = [*found["values"], *map(self._value, asked.get("values", []))]
        return found | {"values": []}

    def _value(self, asked: Json) -> Json:
        slug = asked.get("socket") or asked["interface"]
        made: Json = {"pk": next(self._pks), "socket": _socket(slug), "interface": _socket(slug)}
        made |= {"value": asked.get("value"), "file": None, "image": None}
        if slug == IMAGE:
            made["image"] = f"{self.url}cases/images/{uuid.uuid4()}/"
            if session := asked.get("upload_session"):
                of = self.sessions[session.rstrip("/").rsplit("/", 1)[-1]]
                of |= {"status": "Succeeded", "image_set": [made["image"]]}
        return made

    def _image(self, pk: str) -> Json:
        width, height, depth = self._geometry
        sizes = {"width": width, "height": height, "depth": depth}
        return {"pk": pk, "voxel_width_mm": 0.7, "voxel_height_mm": 0.7, "voxel_depth_mm": 1.0} | sizes


def _page(results: list[Json]) -> Json:
    return {"count": len(results), "next": None, "previous": None, "results": results}


def _socket(slug: str) -> Json:
    kind, super_kind = ("Image", "Image") if slug == IMAGE else ("Float", "Value")
    named = {
        "slug": slug,
        "title": slug,
        "relative_path": slug,
        "kind": kind,
        "super_kind": super_kind,
        "pk": 1,
    }
    return named | dict.fromkeys(["description", "default_value", "overlay_segments", "look_up_table"])


def store(connection: socket.socket, latency: float) -> None:
    """Forgets each part. Its ETag is the MD5 it was said to have: to sum it here, too, would hide the client."""
    line = Line(connection, latency)
    while found := line.request():
        _, _, headers, size = found
        line.forget(size)
        md5 = base64.b64decode(headers.get("content-md5", "")).hex() or "0" * 32
        line.answer(b"", f'ETag: "{md5}"\r\n')


def _served(
    connection: socket.socket, context: ssl.SSLContext | None, way: Callable[[socket.socket], None]
) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError), connection:
        way(context.wrap_socket(connection, server_side=True) if context else connection)


def _accept(context: ssl.SSLContext | None, way: Callable[[socket.socket], None], forks: bool) -> int:
    """Serve on a port of its own from now on; which one."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)

    def accept() -> None:
        while True:
            connection, _ = listening.accept()
            if not forks:
                threading.Thread(target=_served, args=(connection, context, way), daemon=True).start()
            elif os.fork() == 0:
                _served(connection, context, way)
                os._exit(0)
            else:
                connection.close()

    if not forks:
        threading.Thread(target=accept, daemon=True).start()
    elif os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        accept()
    return int(listening.getsockname()[1])


def main(certificate: str, latency: str, *geometry: str) -> None:
    """With TLS where `certificate` is not ""; `latency` in seconds a request. Prints the API's address; serves."""
    context, scheme = None, "http"
    if certificate:
        context, scheme = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), "https"
        context.load_cert_chain(certificate)
    storage = _accept(context, partial(store, latency=float(latency)), forks=True)
    platform = Platform(f"{scheme}://127.0.0.1:{storage}/", float(latency), [int(one) for one in geometry])
    port = _accept(context, platform.serve, forks=False)
    platform.url = f"{scheme}://127.0.0.1:{port}/api/v1/"
    print(platform.url, flush=True)
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    os.setpgrp()
    main(*sys.argv[1:])
