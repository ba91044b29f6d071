"""The requests of the REST API, as Casedrop makes them."""

import html
import json
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from casedrop.sandbox.imports import Imports
from casedrop.sandbox.state import DisplaySet, RefusedError, Session, Socket, State, Stored, Study, Upload
from casedrop.sandbox.storage import Storage

HTML_500 = "<!doctype html><html><body><h1>Server Error (500)</h1></body></html>"
Handler = Callable[[Request], Awaitable[Response]]
Row = tuple[str, list[str], Callable[[Request, Any], Response]]
"""Path, methods, and what answers them."""


class Api:
    """Every handler answers as the platform was seen to (CONTRACT tests name the recordings)."""

    def __init__(self, state: State, imports: Imports) -> None:
        self.state = state
        self.imports = imports
        self.storage = Storage(state)

    def routes(self) -> list[Route]:
        multipart = "/api/v1/uploads/{pk}/{s3}"
        table: list[Row] = [
            ("/api/v1/profiles/users/self/", ["GET"], self.whoami),
            ("/api/v1/components/interfaces/", ["GET"], self.sockets),
            *self._sets("/api/v1/reader-studies/", "display-sets/", archive=False),
            *self._sets("/api/v1/archives/", "items/", archive=True),
            ("/api/v1/uploads/", ["GET", "POST"], self.uploads),
            ("/api/v1/uploads/{pk}/", ["GET"], self.upload),
            (f"{multipart}/generate-presigned-urls/", ["PATCH"], self.presign),
            (f"{multipart}/list-parts/", ["GET"], self.list_parts),
            (f"{multipart}/complete-multipart-upload/", ["PATCH"], self.complete),
            (f"{multipart}/abort-multipart-upload/", ["PATCH"], self.abort),
            ("/api/v1/cases/upload-sessions/", ["POST"], self.sessions),
            ("/api/v1/cases/upload-sessions/{pk}/", ["GET"], self.session),
            ("/api/v1/cases/images/{pk}/", ["GET"], self.image),
            ("/media/{pk:int}/{name}", ["GET"], self.media),
        ]
        routes = [Route(path, self._guarded(handler), methods=methods) for path, methods, handler in table]
        return [*routes, *self.storage.routes()]

    def _sets(self, studies: str, sets: str, *, archive: bool) -> list[Row]:
        return [
            (studies, ["GET"], partial(self.studies, archive=archive)),
            (f"{studies}{sets}", ["GET", "POST"], partial(self.display_sets, archive=archive)),
            (f"{studies}{sets}{{pk}}/", ["GET", "PATCH"], partial(self.display_set, archive=archive)),
        ]

    def _guarded(self, handler: Callable[[Request, Any], Response]) -> Handler:
        """Token, one transaction, and refusals as answers."""

        async def answer(request: Request) -> Response:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            known = scheme.lower() == "bearer" and token == self.state.token
            if scheme.lower() == "bearer" and not known:
                return _unauthorized(_token_problem(token))
            if not known:
                return _anonymous(request)
            try:
                body = json.loads(await request.body() or b"{}")
            except ValueError as error:
                return JSONResponse({"detail": f"JSON parse error - {error}"}, 400)
            return await run_in_threadpool(act, request, body)

        def act(request: Request, body: Any) -> Response:
            with self.state.lock:
                try:
                    return handler(request, body)
                except RefusedError as no:
                    if no.status == 500:
                        return Response(HTML_500, 500, media_type="text/html")
                    return JSONResponse(no.body, no.status)

        return answer

    def whoami(self, _: Request, __: Any) -> Response:
        return JSONResponse({"user": {"username": "uploader"}})

    def sockets(self, request: Request, _: Any) -> Response:
        found = self.state.sockets.get(request.query_params.get("slug", ""))
        return _page(request, [_interface(found)] if found else [])

    def studies(self, request: Request, _: Any, *, archive: bool) -> Response:
        """Archives without their slugs."""
        known = self.state.archives if archive else self.state.studies
        found = known.get(request.query_params.get("slug", ""))
        if found is None:
            return _page(request, [])
        record = {"pk": found.pk, "url": f"{_base(request)}/{found.kind}/{found.slug}/"}
        return _page(request, [record if archive else record | {"slug": found.slug}])

    def display_sets(self, request: Request, body: Any, *, archive: bool) -> Response:
        if request.method == "POST":
            made = self.state.make_item(body) if archive else self.state.make_display_set(body)
            return JSONResponse(self._display_set(request, made), 201)
        which, known = ("archive", self.state.archives) if archive else ("reader_study", self.state.studies)
        found = self.state.study_sets(_filter(request, which, known))
        return _page(request, [self._display_set(request, one) for one in found])

    def display_set(self, request: Request, body: Any, *, archive: bool) -> Response:
        kind = "ArchiveItem" if archive else "DisplaySet"
        known = self.state.sets_of(archive=archive)
        found = _found(known, request, f"No {kind} matches the given query.")
        if request.method == "PATCH":
            self.imports.patch(found, body)
        return JSONResponse(self._display_set(request, found))

    def uploads(self, request: Request, body: Any) -> Response:
        if request.method == "POST":
            return JSONResponse(_upload(request, self.state.make_upload(body)), 201)
        return _page(request, [_upload(request, one) for one in self.state.uploads.values()])

    def upload(self, request: Request, _: Any) -> Response:
        found = _found(self.state.uploads, request, "No UserUpload matches the given query.")
        return JSONResponse(_upload(request, found))

    def presign(self, request: Request, body: Any) -> Response:
        found = self._multipart(request)
        if found.status != "Initialized" or self.state.bytes_there(found) > self.state.most_bytes:
            raise RefusedError(403, {"detail": "Upload limit reached"})
        numbers = _required(body, "part_numbers")
        for index, number in enumerate(numbers):
            if not 1 <= number <= 10_000:
                bound = "greater than or equal to 1" if number < 1 else "less than or equal to 10000"
                raise RefusedError(400, {"part_numbers": {str(index): [f"Ensure this value is {bound}."]}})
        urls = {
            str(one): self.storage.signed(_base(request), f"/storage/uploads/{found.pk}/{one}")
            for one in numbers
        }
        return JSONResponse(_upload(request, found) | {"presigned_urls": urls})

    def list_parts(self, request: Request, _: Any) -> Response:
        found = self._multipart(request)
        if found.status != "Initialized":
            raise RefusedError(500, None)
        parts = [
            {"ETag": f'"{etag}"', "PartNumber": number, "Size": (found.folder / str(number)).stat().st_size}
            for number, etag in sorted(found.etags.items())
        ]
        return JSONResponse(_upload(request, found) | {"parts": parts})

    def complete(self, request: Request, body: Any) -> Response:
        found = self._multipart(request)
        self.state.complete(found, _required(body, "parts"))
        return JSONResponse(_upload(request, found))

    def abort(self, request: Request, _: Any) -> Response:
        found = self._multipart(request)
        if found.status != "Initialized":
            raise RefusedError(500, None)
        found.status, found.s3_upload_id = "Aborted", ""
        return JSONResponse(_upload(request, found))

    def sessions(self, request: Request, body: Any) -> Response:
        return JSONResponse(_session(request, self.state.make_session(body.get("uploads"))), 201)

    def session(self, request: Request, _: Any) -> Response:
        found = _found(self.state.sessions, request, "No RawImageUploadSession matches the given query.")
        return JSONResponse(_session(request, found))

    def image(self, request: Request, _: Any) -> Response:
        found = _found(self.state.images, request, "No Image matches the given query.")
        (width, height, depth), (x, y, z) = found.shape.size, found.shape.voxel_mm
        return JSONResponse(
            {"pk": found.pk, "name": found.name, "width": width, "height": height, "depth": depth}
            | {"voxel_width_mm": x, "voxel_height_mm": y, "voxel_depth_mm": z}
        )

    def media(self, request: Request, _: Any) -> Response:
        to = self.storage.signed(_base(request), f"/storage/media/{request.path_params['pk']}")
        return Response(status_code=302, headers={"Location": to})

    def _multipart(self, request: Request) -> Upload:
        found: Upload = _found(self.state.uploads, request, "No UserUpload matches the given query.")
        if not found.s3_upload_id or found.s3_upload_id != request.path_params["s3"]:
            raise RefusedError(404, {"detail": "Not found."})
        return found

    def _display_set(self, request: Request, one: DisplaySet) -> dict[str, Any]:
        """An item has no order and does not say its address."""
        study = f"{_base(request)}/api/v1/{one.study.kind}/{one.study.pk}/"
        record = {"pk": one.pk, "title": one.title, "values": self._values(request, one)}
        if one.study.archive:
            return record | {"archive": study}
        return record | {
            "title_safe": html.escape(one.title),
            "reader_study": study,
            "order": one.order,
            "api_url": f"{_base(request)}/api/v1/reader-studies/display-sets/{one.pk}/",
        }

    def _values(self, request: Request, one: DisplaySet) -> list[dict[str, Any]]:
        return [self._value(request, slug, value) for slug, value in one.values.items()]

    def _value(self, request: Request, slug: str, value: Stored) -> dict[str, Any]:
        kind = self.state.sockets[slug]
        image = f"{_base(request)}/api/v1/cases/images/{value.image}/" if value.image else None
        file = f"{_base(request)}/media/{value.pk}/{value.name}" if value.path else None
        return {
            "interface": _interface(kind),
            "value": value.value,
            "file": file,
            "image": image,
            "pk": value.pk,
        }


def _interface(found: Socket) -> dict[str, Any]:
    segments = [{"name": f"s{one}", "visible": True, "voxel_value": one} for one in found.segments]
    return {
        "slug": found.slug,
        "kind": found.kind,
        "super_kind": found.super_kind,
        "overlay_segments": segments,
    }


def _filter(request: Request, which: str, known: dict[str, Study]) -> str:
    pk = request.query_params.get(which, "")
    if not _is_uuid(pk):
        raise RefusedError(400, {which: [f"“{pk}” is not a valid UUID."]})
    if pk not in {one.pk for one in known.values()}:
        text = "Select a valid choice. That choice is not one of the available choices."
        raise RefusedError(400, {which: [text]})
    return pk


def _anonymous(request: Request) -> Response:
    """Lists are empty, the own profile is nobody's, everything else is refused (recording 01)."""
    if request.url.path.endswith("/profiles/users/self/"):
        return JSONResponse({"user": {"username": "AnonymousUser"}})
    if request.method == "GET" and request.url.path.endswith(
        ("reader-studies/", "display-sets/", "uploads/")
    ):
        return JSONResponse({"count": 0, "next": None, "previous": None, "results": []})
    return _unauthorized("Authentication credentials were not provided.")


def _token_problem(token: str) -> str:
    if not token:
        return "Invalid token header. No credentials provided."
    if " " in token:
        return "Invalid token header. Token string should not contain spaces."
    return "Invalid token."


def _unauthorized(text: str) -> Response:
    return JSONResponse({"detail": text}, 401, {"WWW-Authenticate": "Bearer"})


def _found(known: dict[str, Any], request: Request, missing: str) -> Any:
    pk = request.path_params["pk"]
    found = known.get(pk)
    if not _is_uuid(pk):
        raise RefusedError(404, {"detail": "Not found."})
    if found is None:
        raise RefusedError(404, {"detail": missing})
    return found


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _required(body: dict[str, Any], field: str) -> list[Any]:
    if field not in body:
        raise RefusedError(400, {"non_field_errors": [f"The `{field}` field is required"]})
    found: list[Any] = body[field]
    return found


def _page(request: Request, records: list[dict[str, Any]]) -> Response:
    limit = min(int(request.query_params.get("limit", 100)), 1000)
    offset = int(request.query_params.get("offset", 0))
    more = offset + limit < len(records)
    following = str(request.url.include_query_params(offset=offset + limit)) if more else None
    results = records[offset : offset + limit]
    return JSONResponse({"count": len(records), "next": following, "previous": None, "results": results})


def _upload(request: Request, upload: Upload) -> dict[str, Any]:
    return {
        "pk": upload.pk,
        "created": upload.created.isoformat(),
        "filename": upload.filename,
        "key": f"uploads/1/{upload.pk}",
        "s3_upload_id": upload.s3_upload_id,
        "status": upload.status,
        "api_url": f"{_base(request)}/api/v1/uploads/{upload.pk}/",
    }


def _session(request: Request, session: Session) -> dict[str, Any]:
    return {
        "pk": session.pk,
        "status": session.status,
        "error_message": session.error_message,
        "image_set": [f"{_base(request)}/api/v1/cases/images/{pk}/" for pk in session.images],
        "api_url": f"{_base(request)}/api/v1/cases/upload-sessions/{session.pk}/",
        "user_uploads": session.uploads,
        "uploads": [f"{_base(request)}/api/v1/uploads/{pk}/" for pk in session.uploads],
    }


def _base(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"
