"""GET /metrics on this machine's own address; whatever happens here, the service goes on."""

import os
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from urllib.parse import urlsplit

import structlog

HOST = "127.0.0.1"

RETRY = 30.0
"""Seconds until a port that was in use is tried again."""

WAKE = 0.5

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exporter:
    """One thread, one request at a time: `page` is asked at each scrape. `stop` is only for tests."""

    def __init__(self, page: Callable[[], bytes], port: int, retry: float = RETRY) -> None:
        self._page = page
        self._port = port
        self._retry = retry
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._turn, name="metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _turn(self) -> None:
        said = False
        while not self._stopping.is_set():
            try:
                with _Server(self._page, self._port) as server:
                    while not self._stopping.is_set():
                        server.handle_request()
            except OSError as error:
                if not said:
                    self._say(error)
                said = True
                self._stopping.wait(self._retry)

    def _say(self, error: OSError) -> None:
        structlog.get_logger().warning(
            "metrics not served",
            port=self._port,
            why=f"{os.strerror(error.errno or 0)}. Folders are sent all the same, and the port is tried again "
            f"every {self._retry:.0f} s. Free it (`ss -ltnp` tells who has it), or change metrics.port.",
        )


class _Server(TCPServer):
    """Not http.server's, which asks the network for this machine's name before it listens."""

    allow_reuse_address = True
    timeout = WAKE

    def __init__(self, page: Callable[[], bytes], port: int) -> None:
        self.page = page
        super().__init__((HOST, port), _Handler)

    def handle_error(self, *_: object) -> None:
        """Only that scrape is lost. Who scraped may have gone, which is no news."""
        error = sys.exception()
        if not isinstance(error, OSError):
            structlog.get_logger().error("scrape surprised us", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "casedrop", ""
    timeout = 5
    """Seconds of silence after which a client is left."""

    def do_GET(self) -> None:
        if urlsplit(self.path).path != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        page = self.server.page()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """No log of what was asked."""
