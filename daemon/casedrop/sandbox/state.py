"""What the sandbox holds, and the platform's rules over it."""

import hashlib
import re
import secrets
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from casedrop.model import Geometry

SMALLEST_PART = 5 << 20


class RefusedError(Exception):
    """The platform answers `status` with `body` and changes nothing."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__()
        self.status = status
        self.body = body


@dataclass(slots=True)
class Socket:
    slug: str
    kind: str
    super_kind: str
    segments: tuple[int, ...] = ()


@dataclass(slots=True)
class Study:
    """Or an archive, whose display sets are items."""

    pk: str
    slug: str
    archive: bool = False

    @property
    def kind(self) -> str:
        """As addresses have it."""
        return "archives" if self.archive else "reader-studies"

    @property
    def sets(self) -> str:
        return "items" if self.archive else "display-sets"


@dataclass(slots=True)
class Stored:
    """A value of a display set: plain, or the bytes of a file or image in `path`."""

    pk: int
    value: Any = None
    path: Path | None = None
    name: str = ""
    image: str = ""


@dataclass(slots=True)
class DisplaySet:
    pk: str
    study: Study
    title: str
    order: int
    values: dict[str, Stored] = field(default_factory=dict)
    closed: bool = False


@dataclass(slots=True)
class Upload:
    pk: str
    filename: str
    s3_upload_id: str
    folder: Path
    created: datetime
    status: str = "Initialized"
    etags: dict[int, str] = field(default_factory=dict)

    @property
    def whole(self) -> Path:
        return self.folder / "whole"


@dataclass(slots=True)
class Session:
    """Idle until it is to bring `socket` of a display set (named by its pk) an image."""

    pk: str
    uploads: list[str]
    status: str = "Queued"
    error_message: str = ""
    images: list[str] = field(default_factory=list)
    display_set: str = ""
    socket: str = ""

    @property
    def used(self) -> bool:
        return bool(self.display_set)


@dataclass(slots=True)
class Image:
    pk: str
    name: str
    path: Path
    shape: Geometry


class State:
    """Everything behind one lock; files lie in a temporary folder."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.folder = Path(tempfile.mkdtemp(prefix="casedrop-sandbox-"))
        self.key = secrets.token_hex(16)
        self.token = secrets.token_hex(32)
        self.sockets: dict[str, Socket] = {}
        self.studies: dict[str, Study] = {}
        self.archives: dict[str, Study] = {}
        self.display_sets: dict[str, DisplaySet] = {}
        self.uploads: dict[str, Upload] = {}
        self.sessions: dict[str, Session] = {}
        self.images: dict[str, Image] = {}
        self.most_uploads = 2000
        self.most_bytes = 128 << 30
        self._value_pk = 0

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def next_value_pk(self) -> int:
        self._value_pk += 1
        return self._value_pk

    def bytes_there(self, upload: Upload) -> int:
        """What counts against the limit: the parts of this upload, and all completed ones."""
        counted = [one for one in self.uploads.values() if one is upload or one.status == "Completed"]
        return sum(path.stat().st_size for one in counted for path in one.folder.iterdir())

    def make_display_set(self, body: dict[str, Any]) -> DisplaySet:
        if "reader_study" not in body:
            raise RefusedError(400, {"reader_study": ["This field is required."]})
        study = self.studies.get(body["reader_study"])
        if study is None:
            slug = body.get("reader_study")
            raise RefusedError(400, {"reader_study": [f"Object with slug={slug} does not exist."]})
        return self._made(study, body)

    def make_item(self, body: dict[str, Any]) -> DisplaySet:
        """Into an archive by its address, of which only the path counts (recording 10)."""
        if "archive" not in body:
            raise RefusedError(400, {"archive": ["This field is required."]})
        found = re.search(r"/api/v1/archives/([^/]+)/$", str(body["archive"]))
        if found is None:
            raise RefusedError(400, {"archive": ["Invalid hyperlink - No URL match."]})
        for archive in self.archives.values():
            if archive.pk == found[1]:
                return self._made(archive, body)
        raise RefusedError(400, {"archive": ["Invalid hyperlink - Object does not exist."]})

    def _made(self, study: Study, body: dict[str, Any]) -> DisplaySet:
        if body.get("values"):
            raise RefusedError(400, ["Values can only be added via update"])
        title = self.checked_title(study, body.get("title", ""), None)
        orders = [one.order for one in self.display_sets.values() if one.study is study]
        order = checked_order(body.get("order", 0)) or (max(orders, default=0) // 10 + 1) * 10
        made = DisplaySet(str(uuid.uuid4()), study, title, order)
        self.display_sets[made.pk] = made
        return made

    def checked_title(self, study: Study, title: object, own: DisplaySet | None) -> str:
        """Stripped; unique in its study unless empty (recording 05)."""
        if not isinstance(title, str):
            raise RefusedError(400, {"title": ["This field may not be null."]})
        if odd := next((letter for letter in title if "\ud800" <= letter <= "\udfff"), ""):
            text = f"Surrogate characters are not allowed: U+{ord(odd):X}."
            raise RefusedError(400, {"title": [text]})
        title = title.strip()
        if len(title) > 255:
            raise RefusedError(400, {"title": ["Ensure this field has no more than 255 characters."]})
        others = (one for one in self.display_sets.values() if one.study is study and one is not own)
        if title and any(one.title == title for one in others):
            kind = "archive" if study.archive else "reader_study"
            text = f"The fields title, {kind} must make a unique set."
            raise RefusedError(400, {"non_field_errors": [text]})
        return title

    def make_upload(self, body: dict[str, Any]) -> Upload:
        filename = body.get("filename")
        if filename is None:
            text = "This field may not be null." if "filename" in body else "This field is required."
            raise RefusedError(400, {"filename": [text]})
        name = str(filename).strip()
        if len(self.uploads) > self.most_uploads:
            text = "You have created too many uploads. Please try again later."
            raise RefusedError(400, {"non_field_errors": [text]})
        if len(name) > 128:
            raise RefusedError(400, {"filename": ["Ensure this field has no more than 128 characters."]})
        if not name:
            raise RefusedError(400, {"filename": ["This field may not be blank."]})
        if "\0" in name:
            raise RefusedError(400, {"filename": ["Null characters are not allowed."]})
        if "/" in name or name == ".":
            raise RefusedError(400, {"filename": [f"{name} is not a valid filename"]})
        pk = str(uuid.uuid4())
        folder = self.folder / pk
        folder.mkdir()
        made = Upload(pk, name, secrets.token_urlsafe(32), folder, datetime.now(UTC))
        self.uploads[pk] = made
        return made

    def complete(self, upload: Upload, parts: list[dict[str, Any]]) -> None:
        """Raises RefusedError 500 for whatever S3 refuses, as the platform does (recording 04)."""
        numbers = [part.get("PartNumber", 0) for part in parts]
        good = upload.status == "Initialized" and numbers and numbers == sorted(set(numbers))
        if not good or any(
            upload.etags.get(one.get("PartNumber", 0)) != one.get("ETag", "").strip('"') for one in parts
        ):
            raise RefusedError(500, None)
        files = [upload.folder / str(number) for number in numbers]
        if any(file.stat().st_size < SMALLEST_PART for file in files[:-1]):
            raise RefusedError(500, None)
        with upload.whole.open("wb") as whole:
            for file in files:
                with file.open("rb") as part:
                    shutil.copyfileobj(part, whole)
                file.unlink()
        upload.status = "Completed"

    def make_session(self, addresses: list[str] | None) -> Session:
        if addresses is None:
            raise RefusedError(400, {"uploads": ["This field is required."]})
        pks = [address.rstrip("/").rsplit("/", 1)[-1] for address in addresses]
        if len(pks) > 100:
            text = "Too many files uploaded. A maximum of 100 files may be uploaded per session."
            raise RefusedError(400, {"non_field_errors": [text]})
        known = [self.uploads.get(pk) for pk in pks]
        if any(one is None or one.status != "Completed" for one in known):
            raise RefusedError(400, {"uploads": ["Invalid hyperlink - Object does not exist."]})
        if len({one.filename for one in known if one}) < len(known):
            raise RefusedError(400, {"non_field_errors": ["Filenames must be unique"]})
        made = Session(str(uuid.uuid4()), pks)
        self.sessions[made.pk] = made
        return made

    def consume(self, pks: list[str]) -> None:
        """The uploads are gone, from idle sessions too (recording 19)."""
        gone = set(pks)
        for pk in gone & self.uploads.keys():
            shutil.rmtree(self.uploads.pop(pk).folder, ignore_errors=True)
        for session in self.sessions.values():
            session.uploads = [pk for pk in session.uploads if pk not in gone]

    def expire_uploads(self) -> None:
        """As if a day had passed: every upload is gone, whatever its state (recording 15)."""
        with self.lock:
            self.consume(list(self.uploads))

    def age_uploads(self, hours: float) -> None:
        """As if so many hours had passed, for uploads only."""
        with self.lock:
            for upload in self.uploads.values():
                upload.created -= timedelta(hours=hours)

    def sets_of(self, *, archive: bool) -> dict[str, DisplaySet]:
        return {pk: one for pk, one in self.display_sets.items() if one.study.archive is archive}

    def study_sets(self, study_pk: str) -> Iterator[DisplaySet]:
        yield from sorted(
            (one for one in self.display_sets.values() if one.study.pk == study_pk), key=lambda one: one.order
        )


def checked_order(order: int) -> int:
    if not 0 <= order < 1 << 31:
        bound = "greater than or equal to 0" if order < 0 else "less than or equal to 2147483647"
        raise RefusedError(400, {"order": [f"Ensure this value is {bound}."]})
    return order


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
