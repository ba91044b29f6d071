"""The sandbox as a server in a thread."""

import asyncio
import socket
import threading
import uuid
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from casedrop.sandbox.api import HTML_500, Api
from casedrop.sandbox.faults import Fault, Faults
from casedrop.sandbox.imports import Imports
from casedrop.sandbox.state import Socket, State, Stored, Study, sha256
from casedrop.sandbox.web import Web

STUDIES = (
    "lung-2026", "my-reader-study", "airways-2026", "thorax-2026", "visits-2026", "follow-up-2026", "volumes-2026",
    "retina-2026",
)  # fmt: skip
ARCHIVES = ("scans-2026",)
SOCKETS = {
    "generic-medical-image": ("Image", "Image"),
    "ct-image": ("Image", "Image"),
    "chest-ct": ("Image", "Image"),
    "ct-thin": ("Image", "Image"),
    "ct-thick": ("Image", "Image"),
    "left-eye": ("Image", "Image"),
    "right-eye": ("Image", "Image"),
    "left-grade": ("Integer", "Value"),
    "right-grade": ("Integer", "Value"),
    "airway-segmentation": ("Segmentation", "Image"),
    "some-score": ("Float", "Value"),
    "airway-score": ("Float", "Value"),
    "lung-score": ("Float", "Value"),
    "scanner-generation": ("Float", "Value"),
    "visit-number": ("Integer", "Value"),
    "lung-volume": ("Float", "Value"),
    "reader-confidence": ("Integer", "Value"),
    "radiologist-remark": ("String", "Value"),
    "report-pdf": ("PDF file", "File"),
    "findings-json": ("Anything", "File"),
    "clinical-information": ("Anything", "Value"),
}
"""Kind and super kind by slug."""
SEGMENTS = {"airway-segmentation": (1,)}
"""Voxel values of segmentations, beside 0."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A display set as the sandbox holds it; files are {"sha256": …}, images {"geometry": …, "sha256": …}."""

    pk: str
    title: str
    order: int
    values: dict[str, Any]


class Sandbox:
    """`with Sandbox() as sandbox`: `url` and `token` are all a client needs."""

    def __init__(
        self, port: int = 0, import_seconds: float = 0.3, host: str = "127.0.0.1", certificate: str = ""
    ) -> None:
        self._host = f"[{host}]" if ":" in host else host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Only of a socket whose protocol is named asyncio sends each answer at once, not up to 40 ms later.
        self._socket = socket.socket(family, proto=socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, port))
        self.state = State()
        self.faults = Faults()
        self.requests: list[tuple[str, str, int]] = []
        self.imports = Imports(self.state, import_seconds)
        app = Starlette(routes=[*Api(self.state, self.imports).routes(), *Web(self.state).routes()])
        self._scheme = "https" if certificate else "http"
        config = uvicorn.Config(
            _Faulty(app, self),
            log_level="critical",
            timeout_graceful_shutdown=1,
            ssl_certfile=certificate or None,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    @property
    def index(self) -> str:
        """The page to begin with, in a browser."""
        return f"{self._scheme}://{self._host}:{self._socket.getsockname()[1]}/"

    @property
    def url(self) -> str:
        return f"{self.index}api/v1/"

    @property
    def token(self) -> str:
        return self.state.token

    def __enter__(self) -> Self:
        self._socket.listen(128)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(5)
        self.imports.close()
        self._socket.close()
        self.state.close()

    def join(self) -> None:
        """Serve until interrupted."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def furnish(self) -> None:
        """The reader studies, archives and sockets of every example in the README and in config/."""
        for slug in STUDIES:
            self.add_reader_study(slug)
        for slug in ARCHIVES:
            self.add_archive(slug)
        for slug, (kind, super_kind) in SOCKETS.items():
            self.add_socket(slug, kind, super_kind, SEGMENTS.get(slug, ()))

    def add_socket(self, slug: str, kind: str, super_kind: str, segments: tuple[int, ...] = ()) -> None:
        self.state.sockets[slug] = Socket(slug, kind, super_kind, segments)

    def add_reader_study(self, slug: str) -> None:
        self.state.studies[slug] = Study(str(uuid.uuid4()), slug)

    def add_archive(self, slug: str) -> None:
        self.state.archives[slug] = Study(str(uuid.uuid4()), slug, archive=True)

    def display_sets(self, study: str) -> list[Holding]:
        return self._holdings(self.state.studies[study])

    def archive_items(self, archive: str) -> list[Holding]:
        """Their `order` means nothing."""
        return self._holdings(self.state.archives[archive])

    def _holdings(self, study: Study) -> list[Holding]:
        with self.state.lock:
            return [
                Holding(one.pk, one.title, one.order, {slug: self._held(v) for slug, v in one.values.items()})
                for one in self.state.study_sets(study.pk)
            ]

    def _held(self, value: Stored) -> Any:
        if value.image:
            image = self.state.images[value.image]
            return {"geometry": image.shape, "sha256": sha256(image.path)}
        return {"sha256": sha256(value.path)} if value.path else value.value

    def close_display_set(self, pk: str) -> None:
        """As if a reader had answered."""
        self.state.display_sets[pk].closed = True

    def edit_value(self, pk: str, socket: str, value: Any) -> None:
        """As if an editor had put a plain value there, or taken it away with None."""
        with self.state.lock:
            values = self.state.display_sets[pk].values
            values.pop(socket, None)
            if value is not None:
                values[socket] = Stored(self.state.next_value_pk(), value=value)

    def delete_display_set(self, pk: str) -> None:
        with self.state.lock:
            del self.state.display_sets[pk]

    def expire_uploads(self) -> None:
        self.state.expire_uploads()

    def age_uploads(self, hours: float) -> None:
        self.state.age_uploads(hours)

    def hold_imports(self) -> None:
        self.imports.released.clear()

    def release_imports(self) -> None:
        self.imports.released.set()


class _Faulty:
    """Around the application: keeps the log of requests and puts the faults in."""

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self.app = app
        self.sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        fault = self.sandbox.faults.take(scope["method"], scope["path"])
        if fault is None:
            await self.app(scope, receive, self._logged(scope, send))
            return
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.after:
            await self.app(scope, receive, _swallow)
        if fault.call:
            fault.call()
        if fault.status:
            await self._answer(scope, send, fault)
        else:
            await self.app(scope, receive, self._logged(scope, send))

    async def _answer(self, scope: Scope, send: Send, fault: Fault) -> None:
        self.sandbox.requests.append((scope["method"], scope["path"], 0 if fault.cut else fault.status))
        if fault.cut:
            await _cut(send)
        headers = [(key.lower().encode(), value.encode()) for key, value in fault.headers.items()]
        if b"content-type" not in dict(headers):
            headers.append((b"content-type", b"text/html"))
        await send({"type": "http.response.start", "status": fault.status, "headers": headers})
        await send({"type": "http.response.body", "body": HTML_500.encode()})

    def _logged(self, scope: Scope, send: Send) -> Send:
        async def logged(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.sandbox.requests.append((scope["method"], scope["path"], message["status"]))
            await send(message)

        return logged


async def _cut(send: Send) -> None:
    """An answer that promises more than comes: the server closes the line in the middle of it."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
    raise ConnectionAbortedError


async def _swallow(_: Message) -> None:
    pass
