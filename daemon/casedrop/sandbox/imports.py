"""What happens after a PATCH: values checked before, files and images taken a moment later."""

import json
import queue
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from casedrop.headers import HEAD, geometry
from casedrop.model import Geometry
from casedrop.sandbox import dicom, slides
from casedrop.sandbox.state import (
    DisplaySet,
    Image,
    RefusedError,
    Session,
    State,
    Stored,
    Upload,
    checked_order,
)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "FLOAT": 4, "DOUBLE": 8}
GONE = "Invalid hyperlink - Object does not exist."
NOT_IMPORTED = "1 file could not be imported"
JSON_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "String": ("string", lambda value: isinstance(value, str)),
    "Integer": ("integer", lambda value: _number(value) and float(value).is_integer()),
    "Float": ("number", _number),
    "Bool": ("boolean", lambda value: isinstance(value, bool)),
}
CODES = {"String": "STR", "Integer": "INT", "Float": "FLT", "Bool": "BOOL", "Anything": "JSON"}
IMAGE_SET = "DICOM Image Set"
CODES |= {
    IMAGE_SET: "DCMIS",
    "PDF file": "PDF",
    "CSV file": "CSV",
    "ZIP file": "ZIP",
    "Image": "IMG",
    "Segmentation": "SEG",
}
NOT_JSON = {"CSV file", "ZIP file", "PDF file", "SQREG file", "Thumbnail jpg", "Thumbnail png", "OBJ file"}
NOT_JSON |= {"MP4 file", "Newick tree-format file", "BIOM format"}
CHOICE = "['image', 'value', 'file', 'user_upload', 'upload_session', ('image_name', 'user_uploads')]"
MISSING = f"You must provide at least one of {CHOICE}."
SOURCES = ("value", "user_upload", "upload_session", "user_uploads", "image")


class Imports:
    """One worker takes what PATCHes have promised, `seconds` after each."""

    def __init__(self, state: State, seconds: float) -> None:
        self.state = state
        self.seconds = seconds
        self.released = threading.Event()
        self.released.set()
        self._closing = False
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()

    def close(self) -> None:
        """What is still to be imported never is."""
        self._closing = True
        self.released.set()
        self._queue.put(None)
        self._worker.join()

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            self.released.wait()
            if self._closing:
                return
            time.sleep(self.seconds)
            task()

    def patch(self, found: DisplaySet, body: dict[str, Any]) -> None:
        """All of the body, or RefusedError and nothing (recording 19)."""
        if found.closed:
            text = "This display set cannot be changed, as answers for it already exist."
            raise RefusedError(400, [text])
        values = body.get("values", [])
        if not isinstance(values, list):
            text = f'Expected a list of items but got type "{type(values).__name__}".'
            raise RefusedError(400, {"values": {"non_field_errors": [text]}})
        problems = [self._problem(value) for value in values]
        if any(problems):
            raise RefusedError(400, {"values": problems})
        if any(_has_nul(value.get("value")) for value in values):
            raise RefusedError(500, None)
        order = checked_order(body.get("order", found.order))
        found.title = self.state.checked_title(found.study, body.get("title", found.title), found)
        found.order = order
        for value in values:
            self._assign(found, value)

    def _problem(self, value: dict[str, Any]) -> dict[str, Any]:
        """Addresses first, then the number of sources, then the socket (recordings 05 and 06)."""
        slug = value.get("interface")
        socket = self.state.sockets.get(str(slug))
        if socket is None:
            return {"interface": [f"Object with slug={slug} does not exist."]}
        if dead := self._dead_addresses(value):
            return dead
        given = [source for source in SOURCES if value.get(source) is not None]
        code = CODES.get(socket.kind, "JSON")
        if socket.super_kind == "Value" and "value" in given:
            return _value_problem(socket.kind, value["value"])
        text = _source_problem(socket.super_kind, code, given, value)
        return {"non_field_errors": [text]} if text else {}

    def _dead_addresses(self, value: dict[str, Any]) -> dict[str, Any]:
        idle = {pk for pk, one in self.state.sessions.items() if not one.used}
        alive = {"image": self.state.images, "upload_session": idle}
        alive |= {"user_upload": self.state.uploads, "user_uploads": self.state.uploads}
        for source, known in alive.items():
            named = value.get(source) or []
            for address in named if isinstance(named, list) else [named]:
                if "/" not in str(address):
                    return {source: ["Invalid hyperlink - No URL match."]}
                if _pk(address) not in known:
                    return {source: [GONE]}
        return {}

    def _assign(self, found: DisplaySet, value: dict[str, Any]) -> None:
        slug = value["interface"]
        kind = self.state.sockets[slug]
        if kind.super_kind == "Value":
            before = found.values.get(slug)
            if before is None or before.value != value["value"]:
                found.values[slug] = Stored(self.state.next_value_pk(), value=value["value"])
        elif kind.kind == IMAGE_SET:
            return  # left to a service of another's, which this server does not have either
        elif kind.super_kind == "File":
            upload = _pk(value["user_upload"])
            self._queue.put(lambda: self._take_file(found, slug, upload))
        elif address := value.get("image"):
            found.values[slug] = Stored(self.state.next_value_pk(), image=_pk(address))
        else:
            session = self._session(value)
            session.display_set, session.socket, session.status = found.pk, slug, "Re-Queued"
            named = value.get("user_uploads")
            prefix = f"Image validation for socket {slug} failed with error: " if named else ""
            self._queue.put(lambda: self._take_image(found, slug, session, prefix))

    def _session(self, value: dict[str, Any]) -> Session:
        if address := value.get("upload_session"):
            return self.state.sessions[_pk(address)]
        made = Session(str(uuid.uuid4()), [_pk(address) for address in value["user_uploads"]])
        self.state.sessions[made.pk] = made
        return made

    def _take_file(self, found: DisplaySet, slug: str, upload_pk: str) -> None:
        """No status tells of it: a JSON file that is none vanishes without a word (recording 07)."""
        with self.state.lock:
            upload = self.state.uploads.get(upload_pk)
            if upload is None or upload.status != "Completed":
                return
            if self.state.sockets[slug].kind not in NOT_JSON and not _is_json(upload.whole):
                return
            pk = self.state.next_value_pk()
            found.values[slug] = Stored(pk, path=self._keep(upload), name=upload.filename)
            self.state.consume([upload_pk])

    def _keep(self, upload: Upload) -> Path:
        kept = self.state.folder / f"kept-{upload.pk}"
        shutil.move(upload.whole, kept)
        return kept

    def _take_image(self, found: DisplaySet, slug: str, session: Session, prefix: str) -> None:
        """Succeeded comes first, attached a moment later, as on the platform (recording 08)."""
        with self.state.lock:
            problem = self._import_problem(found, session)
            if problem is not None:
                session.status, session.error_message = "Failed", prefix + problem
                return
            known = [self.state.uploads[pk] for pk in session.uploads]
            image = self._import(known)
            self.state.consume(session.uploads)
            session.images, session.status = [image.pk], "Succeeded"
        time.sleep(min(self.seconds, 0.2))
        with self.state.lock:
            found.values[slug] = Stored(self.state.next_value_pk(), image=image.pk)

    def _import_problem(self, found: DisplaySet, session: Session) -> str | None:
        """None where an image can be made; the empty text is an expired upload's (recording 15)."""
        known = [self.state.uploads[pk] for pk in session.uploads]
        if not known:
            return ""
        if found.closed or any(one.status != "Completed" for one in known):
            return "An unexpected error occurred"
        return None if _image(known) else NOT_IMPORTED

    def _import(self, known: list[Upload]) -> Image:
        found = _image(known)
        assert found is not None
        shape, name = found
        largest = max(known, key=lambda one: one.whole.stat().st_size)
        image = Image(str(uuid.uuid4()), name, self._keep(largest), shape)
        self.state.images[image.pk] = image
        return image


def _image(uploads: list[Upload]) -> tuple[Geometry, str] | None:
    """The one image of these files and its name, None where they are none or cut off."""
    if len(uploads) == 1 and (found := dicom.image_of(uploads[0].whole)):
        shape, study = found
        return shape, f"{study}-0"
    if slide := slides.name_of({one.filename: one.whole for one in uploads}):
        return Geometry((1, 1, None)), slide
    shape_of = _meta_image(uploads)
    return (shape_of, min(one.filename for one in uploads)) if shape_of else None


def _meta_image(uploads: list[Upload]) -> Geometry | None:
    names = {one.filename.rsplit(".", 1)[-1]: one for one in uploads}
    header = names.get("mhd") or uploads[0]
    with header.whole.open("rb") as file:
        head = file.read(HEAD)
    shape = geometry(header.filename, head)
    if shape is None or not header.filename.endswith((".mha", ".mhd")):
        return shape
    text = head.decode("latin-1")
    data = re.search(r"(?m)^ElementDataFile *= *(\S+)\s*?\n?", text)
    if data is None:
        return None
    if data[1] == "LOCAL":
        return shape if _long_enough(text, shape, header.whole.stat().st_size - data.end()) else None
    raw = next((one for one in uploads if one.filename == data[1]), None)
    return shape if raw and _long_enough(text, shape, raw.whole.stat().st_size) else None


def _long_enough(header: str, shape: Geometry, size: int) -> bool:
    if re.search(r"(?m)^CompressedData *= *True", header):
        return True
    kind = re.search(r"(?m)^ElementType *= *MET_U?(\w+)", header)
    width, height, depth = shape.size
    return kind is not None and size >= width * height * (depth or 1) * BYTES.get(kind[1], 1)


def _source_problem(super_kind: str, code: str, given: list[str], value: dict[str, Any]) -> str | None:
    if len(given) > 1:
        return f"You can only provide one of {CHOICE} for each socket."
    if super_kind == "Value":
        named = "value" in value or given
        return f"value is required for interface kind {code}" if named else MISSING
    if not given:
        return MISSING
    if super_kind == "File":
        return (
            None if value.get("user_upload") else f"user_upload or file is required for interface kind {code}"
        )
    if code == CODES[IMAGE_SET]:
        fits = value.get("image") or (value.get("user_uploads") and value.get("image_name"))
        return (
            None
            if fits
            else f"either user_uploads with image_name, or image are required for interface kind {code}"
        )
    if any(value.get(source) for source in ("upload_session", "user_uploads", "image")):
        return None
    return f"upload_session, user_uploads or image are required for interface kind {code}"


def _value_problem(kind: str, value: Any) -> dict[str, Any]:
    name, fits = JSON_TYPES.get(kind, ("", lambda _: True))
    if fits(value):
        return {}
    shown = f"instance {value!r}" if isinstance(value, str) else "instance"
    return {"__all__": [f"JSON does not fulfill schema: {shown} is not of type {name!r}"]}


def _has_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_nul, value)) or any(map(_has_nul, value.values()))
    if isinstance(value, list):
        return any(map(_has_nul, value))
    return isinstance(value, str) and "\0" in value


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _pk(address: str) -> str:
    return str(address).rstrip("/").rsplit("/", 1)[-1]
