"""The platform's REST API, one method per call; from an answer only what Casedrop uses is read.

Every method raises errors.SetupProblem (token, rights, address), errors.Unavailable (not now),
errors.Unclear (it may have been done) or errors.Refused (a definite no), by the table in answers.
"""

import copy
import html
import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from casedrop.answers import Meaning, meaning
from casedrop.errors import Refused, SetupProblem, Unavailable, Unclear, kind
from casedrop.model import Geometry, Json, SocketKind
from casedrop.route import Clients, Route, line, refused_on_the_way

PAGE = 1000
CHUNK = 1 << 20

Observer = Callable[[str, float, str, int], None]
"""Told of each request: its name, how long it took (seconds), how it ended (errors.kind), bytes of a part."""


@dataclass(frozen=True, slots=True)
class ReaderStudy:
    """Or an archive, where `archive` says so."""

    pk: str
    slug: str
    url: str
    """Its web page."""
    archive: bool = False


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a display set: `value` for plain ones, `file` and `image` are addresses."""

    pk: int
    value: Json
    file: str | None
    image: str | None


@dataclass(frozen=True, slots=True)
class DisplaySet:
    """Or an item of an archive."""

    pk: str
    title: str
    values: dict[str, Value]
    """By socket slug."""


@dataclass(frozen=True, slots=True)
class Upload:
    """`status` is Initialized, Completed or Aborted; `age` in seconds by the platform's own clock."""

    pk: str
    s3_upload_id: str
    status: str
    api_url: str
    age: float


@dataclass(frozen=True, slots=True)
class Session:
    """An upload session: idle while Queued; Re-Queued is under way; Succeeded is not yet attached."""

    pk: str
    api_url: str
    status: str
    error_message: str
    images: tuple[str, ...]
    """Addresses of the images it built."""


class GrandChallenge:
    """One server as one user. `url` ends in "/"; `token` is asked before every request, `observe` told after it.

    What it says of reader studies and their display sets goes for archives and their items where `archive` is
    set: the requests are the same but for a few names (seen on a real server, recordings 10 and 19).
    """

    archive = False
    ahead: float | None = None
    """Seconds by which the platform's clock was ahead of ours at `whoami`; None where it did not tell."""

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        observe: Observer = lambda *_: None,
        route: Route | None = None,
    ) -> None:
        self.url = url
        self.storage = ""
        """Where the last part went, "" before the first."""
        self._origin = urlsplit(url)[:2]
        self._route = route or Route()
        self._token = token
        self._observe = observe
        self._platform = Clients(self._route)
        self._storage = Clients(self._route)

    def of(self, *, archive: bool) -> "GrandChallenge":
        """The same server over the same connections, for archives or for reader studies."""
        found = copy.copy(self)
        found.archive = archive
        return found

    def close(self) -> None:
        self._platform.close()
        self._storage.close()

    def whoami(self) -> str:
        """The token's user name; "AnonymousUser" where the server saw no token."""
        answer = self._send("whoami", "GET", "profiles/users/self/")
        if "Date" in answer.headers:
            self.ahead = (_date(answer) - datetime.now(UTC)).total_seconds()
        with _understood():
            return str(answer.json()["user"]["username"])

    def reader_study(self, slug: str) -> ReaderStudy | None:
        """None where it does not exist or this user may not see it: the platform does not tell which."""
        found = self._read("reader_study", self._studies, {"slug": slug})["results"]
        return ReaderStudy(found[0]["pk"], slug, found[0]["url"], self.archive) if found else None

    def socket(self, slug: str) -> SocketKind | None:
        results = self._read("socket", "components/interfaces/", {"slug": slug})["results"]
        return _socket_kind(slug, results[0]) if results else None

    def display_sets(self, study_pk: str) -> Iterator[DisplaySet]:
        """All display sets of a study that this user may see, page by page.

        Raises Unavailable where a page may have missed one: the study changed between two pages, or one stood
        on both, since the items of an archive are in no certain order.
        """
        seen: set[str] = set()
        offset, count = 0, None
        which = "archive" if self.archive else "reader_study"
        while True:
            page = self._read("display_sets", self._sets, {which: study_pk, "limit": PAGE, "offset": offset})
            offset += len(page["results"])
            seen |= {one["pk"] for one in page["results"]}
            if count not in (None, page["count"]) or len(seen) < offset:
                raise Unavailable("What the reader study or archive holds changed while it was being listed.")
            count = page["count"]
            yield from map(_display_set, page["results"])
            if not page["next"] or not page["results"]:
                return

    def display_set(self, pk: str) -> DisplaySet:
        return _display_set(self._read("display_set", f"{self._sets}{pk}/"))

    def create_display_set(self, study: str, title: str) -> DisplaySet:
        """`study` is a reader study's slug, or an archive's pk."""
        body = {"archive": f"{self.url}{self._studies}{study}/"} if self.archive else {"reader_study": study}
        return _display_set(self._write("create_display_set", "POST", self._sets, body | {"title": title}))

    def update_display_set(self, pk: str, body: Json) -> DisplaySet:
        """PATCH: everything in `body` is taken, or nothing (seen on a real server, recording 19)."""
        return _display_set(self._write("update_display_set", "PATCH", f"{self._sets}{pk}/", body))

    def create_upload(self, filename: str) -> Upload:
        return self._upload("create_upload", "POST", "uploads/", {"filename": filename})

    def uploads_there(self) -> int:
        """How many uploads of this user the platform counts, in any state."""
        with _understood():
            return int(self._read("uploads_there", "uploads/", {"limit": 1})["count"])

    def upload(self, pk: str) -> Upload:
        return self._upload("upload", "GET", f"uploads/{pk}/")

    def presign(self, upload: Upload, numbers: list[int]) -> dict[int, str]:
        """Addresses to PUT these parts to (numbers from 1), good for one hour."""
        path = f"{_multipart(upload)}/generate-presigned-urls/"
        urls = self._write("presign", "PATCH", path, {"part_numbers": numbers})["presigned_urls"]
        return {int(number): url for number, url in urls.items()}

    def parts(self, upload: Upload) -> dict[int, tuple[str, int]]:
        """The parts that arrived: number -> (md5 or other ETag, size in bytes)."""
        found = self._read("parts", f"{_multipart(upload)}/list-parts/")["parts"]
        return {part["PartNumber"]: (part["ETag"].strip('"'), part["Size"]) for part in found}

    def complete(self, upload: Upload, etags: dict[int, str]) -> Upload:
        parts = [{"ETag": f'"{etag}"', "PartNumber": number} for number, etag in sorted(etags.items())]
        path = f"{_multipart(upload)}/complete-multipart-upload/"
        return self._upload("complete", "PATCH", path, {"parts": parts})

    def put_part(self, url: str, body: Iterable[bytes], size: int, md5: bytes) -> str:
        """Send one part; the storage checks `md5`, and we check its ETag where that is an MD5.

        Returns the ETag. Raises Refused with DAMAGED where the bytes are not those of `md5`.
        """
        headers = {"Content-Length": str(size), "Content-MD5": b64encode(md5).decode()}
        with self._observed("put_part", size):
            with line(self._route, "storage", url, writes=False), self._storage.lent() as client:
                response = client.put(url, content=body, headers=headers)
            self._expect_success("put_part", response)
            etag = str(response.headers.get("ETag", "")).strip('"')
            if not etag:
                refused_on_the_way(self._route, "storage", url, response.status_code)
            self.storage = urlsplit(url).netloc.rpartition("@")[2]
            encryption = response.headers.get("x-amz-server-side-encryption", "AES256")
            if encryption == "AES256" and etag != md5.hex():
                raise Refused(Meaning.DAMAGED, response.status_code, "The ETag is not the part's MD5.")
            return etag

    def create_session(self, uploads: list[str]) -> Session:
        """An idle session of these upload addresses: it does nothing until a display set names it."""
        body = {"uploads": uploads}
        return _session(self._write("create_session", "POST", "cases/upload-sessions/", body))

    def session(self, pk: str) -> Session:
        return _session(self._read("session", f"cases/upload-sessions/{pk}/"))

    def image(self, address: str) -> Geometry:
        """Size and voxel size of an image, by its address in a display set."""
        pk = urlsplit(address).path.rstrip("/").rsplit("/", 1)[-1]
        found = self._read("image", f"cases/images/{pk}/")
        voxel = (found["voxel_width_mm"], found["voxel_height_mm"], found["voxel_depth_mm"])
        return Geometry((found["width"], found["height"], found["depth"]), voxel)

    def download(self, address: str) -> Iterator[bytes]:
        """The bytes of a file value. The token goes to the platform only, never on to its storage."""
        if urlsplit(address)[:2] == self._origin:
            with self._observed("download"):
                with line(self._route, "platform", self.url, writes=False), self._platform.lent() as client:
                    answer = client.get(address, headers=self._bearer())
                if not answer.has_redirect_location:
                    self._expect_success("download", answer)
            if not answer.has_redirect_location:
                yield answer.content
                return
            with _understood():
                address = urljoin(address, answer.headers["location"])
        with (
            self._observed("get_file"),
            line(self._route, "storage", address, writes=False),
            self._storage.lent() as client,
            client.stream("GET", address) as response,
        ):
            if not response.is_success:
                response.read()
                self._expect_success("download", response, host="storage")
            yield from response.iter_bytes(CHUNK)

    @property
    def _studies(self) -> str:
        return "archives/" if self.archive else "reader-studies/"

    @property
    def _sets(self) -> str:
        return self._studies + ("items/" if self.archive else "display-sets/")

    def _upload(self, request: str, method: str, path: str, body: Json = None) -> Upload:
        response = self._send(request, method, path, body)
        with _understood():
            record = response.json()
            age = (_date(response) - datetime.fromisoformat(record["created"])).total_seconds()
            return Upload(
                record["pk"], record["s3_upload_id"], record["status"], record["api_url"], max(age, 0.0)
            )

    def _read(self, request: str, path: str, params: dict[str, str | int] | None = None) -> Any:
        with _understood():
            return self._send(request, "GET", path, params=params).json()

    def _write(self, request: str, method: str, path: str, body: Json) -> Any:
        with _understood():
            return self._send(request, method, path, body).json()

    def _send(
        self,
        request: str,
        method: str,
        path: str,
        body: Json = None,
        params: dict[str, str | int] | None = None,
    ) -> httpx.Response:
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        headers = self._bearer() | ({"Content-Type": "application/json"} if content is not None else {})
        with self._observed(request):
            with (
                line(self._route, "platform", self.url, writes=method != "GET"),
                self._platform.lent() as client,
            ):
                response = client.request(
                    method, self.url + path, content=content, headers=headers, params=params
                )
            self._expect_success(request, response)
        return response

    def _expect_success(self, request: str, response: httpx.Response, host: str = "") -> None:
        """The platform's own 403 is JSON, the storage's XML; one in HTML comes from something on the way."""
        host = host or ("storage" if request == "put_part" else "platform")
        status, is_page = response.status_code, "html" in response.headers.get("content-type", "")
        asked = httpx.codes.PROXY_AUTHENTICATION_REQUIRED
        if status == asked or (status == httpx.codes.FORBIDDEN and is_page):
            refused_on_the_way(self._route, host, str(response.request.url), status)
        _expect_success(request, response, host)

    @contextmanager
    def _observed(self, request: str, size: int = 0) -> Iterator[None]:
        began, ended = time.perf_counter(), kind(None)
        try:
            yield
        except BaseException as error:
            ended = kind(error)
            raise
        finally:
            self._observe(request, time.perf_counter() - began, ended, size)

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token()}", "Accept": "application/json"}


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise Unclear("The platform's answer cannot be understood.", answered=True) from None


def _expect_success(request: str, response: httpx.Response, host: str) -> None:
    if response.is_success:
        return
    text = _words(response)
    match meaning(request, response.status_code, text):
        case Meaning.SETUP if host == "platform":
            raise SetupProblem(_setup_text(request, response.status_code))
        case Meaning.SETUP | Meaning.UNAVAILABLE:
            raise Unavailable(f"The {host} answered {response.status_code}.", host, _retry_after(response))
        case Meaning.QUOTA:
            which = "quota" if request == "presign" else "uploads"
            raise Unavailable(f"The {host} takes no more for now: {text}", which, _retry_after(response))
        case Meaning.UNCLEAR:
            raise Unclear(f"The {host} answered {response.status_code}.", answered=True)
        case definite:
            raise Refused(definite, response.status_code, text)


def _setup_text(request: str, status: int) -> str:
    if status == httpx.codes.UNAUTHORIZED:
        return (
            "Grand Challenge does not accept the token: it is wrong, expired or revoked. A new one in token_file "
            "is taken by itself, a new variable once the service is restarted; as the service's credential: "
            "sudo casedrop install --token-file FILE --start"
        )
    if request in ("create_display_set", "update_display_set"):
        return (
            "Grand Challenge does not know the reader study or archive, or a socket named in the rules, or this "
            "token's user may not edit it: `casedrop check` tells which."
        )
    return f"What answers at platform.url says {status}: that is not the address of the API (…/api/v1/)."


def _words(response: httpx.Response) -> str:
    """The answer's own words, without HTML pages: "value is required …", several joined by spaces."""
    if "xml" in response.headers.get("content-type", ""):
        return response.text
    try:
        return " ".join(_strings(response.json()))
    except ValueError:
        return ""


def _strings(body: Json) -> Iterator[str]:
    if isinstance(body, str):
        yield body
    elif isinstance(body, dict | list):
        for item in body.values() if isinstance(body, dict) else body:
            yield from _strings(item)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait, from seconds or a date (RFC 9110, 10.2.3)."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max((_instant(text) - _date(response)).total_seconds(), 0.0)
    except ValueError:
        return None


def _date(response: httpx.Response) -> datetime:
    """The platform's own clock; ours only where an answer carries no Date."""
    try:
        return _instant(response.headers["Date"])
    except (KeyError, ValueError):
        return datetime.now(UTC)


def _instant(text: str) -> datetime:
    """UTC where a date says -0000. Raises ValueError."""
    found = parsedate_to_datetime(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _display_set(record: dict[str, Any]) -> DisplaySet:
    """Older servers name a value's socket `interface`, newer ones `socket`; some give only `title_safe`."""
    title = record["title"] if "title" in record else html.unescape(record["title_safe"])
    values = {}
    for item in record["values"]:
        socket = item["socket"] if item.get("socket") else item["interface"]
        slug = socket if isinstance(socket, str) else socket["slug"]
        values[slug] = Value(item["pk"], item.get("value"), item.get("file"), item.get("image"))
    return DisplaySet(record["pk"], title, values)


def _socket_kind(slug: str, record: dict[str, Any]) -> SocketKind:
    """Segments are of segmentations only (recording 02)."""
    segments = record.get("overlay_segments") or []
    values = tuple(one["voxel_value"] for one in segments) if record["kind"] == "Segmentation" else ()
    return SocketKind(slug, record["kind"], record["super_kind"], values)


def _session(record: dict[str, Any]) -> Session:
    images = tuple(record["image_set"])
    return Session(record["pk"], record["api_url"], record["status"], record["error_message"] or "", images)


def _multipart(upload: Upload) -> str:
    return f"uploads/{upload.pk}/{upload.s3_upload_id}"
