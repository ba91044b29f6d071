"""The requests of the REST API and of the storage behind it, as Casedrop makes them."""

import base64
import hashlib
import hmac
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from casedrop.sandbox.imports import Imports
from casedrop.sandbox.state import URL_SECONDS, DisplaySet, RefusedError, Session, State, Stored, Upload

HTML_500 = "<!doctype html><html><body><h1>Server Error (500)</h1></body></html>"
Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """Every handler answers as the platform was seen to (CONTRACT tests name the recordings)."""

    def __init__(self, state: State, imports: Imports) -> None:
        self.state = state
        self.imports = imports

    def routes(self) -> list[Route]:
        multipart = "/api/v1/uploads/{pk}/{s3}"
        table: list[tuple[str, list[str], Any]] = [
            ("/api/v1/profiles/users/self/", ["GET"], self.whoami),
            ("/api/v1/components/interfaces/", ["GET"], self.sockets),
            ("/api/v1/reader-studies/", ["GET"], self.studies),
            ("/api/v1/reader-studies/display-sets/", ["GET", "POST"], self.display_sets),
            ("/api/v1/reader-studies/display-sets/{pk}/", ["GET", "PATCH"], self.display_set),
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
        routes.append(Route("/storage/uploads/{pk}/{number:int}", self.put_part, methods=["PUT"]))
        routes.append(Route("/storage/media/{pk:int}", self.stored, methods=["GET"]))
        return routes

    def _guarded(self, handler: Callable[[Request, Any], Response]) -> Handler:
        """Token, one transaction, and refusals as answers."""

        async def answer(request: Request) -> Response:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            known = scheme.lower() == "bearer" and token == self.state.token
            if scheme.lower() == "bearer" and not known:
                return JSONResponse({"detail": "Invalid token."}, 401, {"WWW-Authenticate": "Bearer"})
            if not known:
                return _anonymous(request)
            body = await request.json() if await request.body() else None
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
        results = [{"slug": found.slug, "kind": found.kind, "super_kind": found.super_kind}] if found else []
        return _page(request, results)

    def studies(self, request: Request, _: Any) -> Response:
        found = self.state.studies.get(request.query_params.get("slug", ""))
        url = f"{_base(request)}/reader-studies/{found.slug}/" if found else ""
        return _page(request, [{"pk": found.pk, "slug": found.slug, "url": url}] if found else [])

    def display_sets(self, request: Request, body: Any) -> Response:
        if request.method == "POST":
            made = self.state.make_display_set(body)
            return JSONResponse(self._display_set(request, made), 201)
        found = self.state.study_sets(request.query_params.get("reader_study", ""))
        return _page(request, [self._display_set(request, one) for one in found])

    def display_set(self, request: Request, body: Any) -> Response:
        found = _found(self.state.display_sets, request, "No DisplaySet matches the given query.")
        if request.method == "PATCH":
            self.imports.patch(found, body or {})
        return JSONResponse(self._display_set(request, found))

    def uploads(self, request: Request, body: Any) -> Response:
        if request.method == "POST":
            return JSONResponse(
                _upload(request, self.state.make_upload((body or {}).get("filename", ""))), 201
            )
        return _page(request, [_upload(request, one) for one in self.state.uploads.values()])

    def upload(self, request: Request, _: Any) -> Response:
        found = _found(self.state.uploads, request, "No UserUpload matches the given query.")
        return JSONResponse(_upload(request, found))

    def presign(self, request: Request, body: Any) -> Response:
        found = self._multipart(request)
        if found.status != "Initialized":
            raise RefusedError(403, {"detail": "Upload limit reached"})
        numbers = body["part_numbers"]
        for index, number in enumerate(numbers):
            if not 1 <= number <= 10_000:
                text = "Ensure this value is greater than or equal to 1."
                raise RefusedError(400, {"part_numbers": {str(index): [text]}})
        urls = {str(one): self._signed(request, f"/storage/uploads/{found.pk}/{one}") for one in numbers}
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
        self.state.complete(found, body["parts"])
        return JSONResponse(_upload(request, found))

    def abort(self, request: Request, _: Any) -> Response:
        found = self._multipart(request)
        if found.status != "Initialized":
            raise RefusedError(500, None)
        found.status, found.s3_upload_id = "Aborted", ""
        return JSONResponse(_upload(request, found))

    def sessions(self, request: Request, body: Any) -> Response:
        return JSONResponse(_session(request, self.state.make_session(body["uploads"])), 201)

    def session(self, request: Request, _: Any) -> Response:
        found = _found(self.state.sessions, request, "No RawImageUploadSession matches the given query.")
        return JSONResponse(_session(request, found))

    def image(self, request: Request, _: Any) -> Response:
        found = _found(self.state.images, request, "No Image matches the given query.")
        (width, height, depth), (x, y, z) = found.size, found.voxel_mm
        return JSONResponse(
            {"pk": found.pk, "name": found.name, "width": width, "height": height, "depth": depth}
            | {"voxel_width_mm": x, "voxel_height_mm": y, "voxel_depth_mm": z}
        )

    def media(self, request: Request, _: Any) -> Response:
        to = self._signed(request, f"/storage/media/{request.path_params['pk']}")
        return Response(status_code=302, headers={"Location": to})

    async def stored(self, request: Request) -> Response:
        if refused := self._refuse_unsigned(request):
            return refused
        values = (value for one in self.state.display_sets.values() for value in one.values.values())
        found = next((one for one in values if one.pk == request.path_params["pk"] and one.path), None)
        return FileResponse(found.path) if found and found.path else _xml(404, "NoSuchKey")

    async def put_part(self, request: Request) -> Response:
        if refused := self._refuse_unsigned(request):
            return refused
        found = self.state.uploads.get(request.path_params["pk"])
        if found is None or found.status != "Initialized":
            return _xml(404, "NoSuchUpload")
        md5 = hashlib.md5(usedforsecurity=False)
        path = found.folder / f"incoming-{uuid.uuid4()}"
        with path.open("wb") as file:
            async for chunk in request.stream():
                md5.update(chunk)
                file.write(chunk)
        wanted = request.headers.get("Content-MD5")
        if wanted and base64.b64decode(wanted) != md5.digest():
            path.unlink()
            return _xml(400, "BadDigest")
        number = request.path_params["number"]
        path.replace(found.folder / str(number))
        found.etags[number] = md5.hexdigest()
        return Response(status_code=200, headers={"ETag": f'"{md5.hexdigest()}"'})

    def _multipart(self, request: Request) -> Upload:
        found: Upload = _found(self.state.uploads, request, "No UserUpload matches the given query.")
        if not found.s3_upload_id or found.s3_upload_id != request.path_params["s3"]:
            raise RefusedError(404, {"detail": "Not found."})
        return found

    def _signed(self, request: Request, path: str) -> str:
        expires = int(time.time()) + URL_SECONDS
        query = f"X-Amz-Expires={expires}&X-Amz-Signature={self._signature(path, str(expires))}"
        return f"{_base(request)}{path}?{query}"

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(self.state.key.encode(), f"{path} {expires}".encode(), "sha256").hexdigest()

    def _refuse_unsigned(self, request: Request) -> Response | None:
        query = {key: values[0] for key, values in parse_qs(request.url.query).items()}
        if "Authorization" in request.headers:
            return _xml(400, "InvalidArgument")
        expires = query.get("X-Amz-Expires", "0")
        right = self._signature(request.url.path, expires) == query.get("X-Amz-Signature")
        return None if right and int(expires) > time.time() else _xml(403, "AccessDenied")

    def _display_set(self, request: Request, one: DisplaySet) -> dict[str, Any]:
        values = [self._value(request, slug, value) for slug, value in one.values.items()]
        return {
            "pk": one.pk,
            "title": one.title,
            "title_safe": one.title,
            "reader_study": f"{_base(request)}/api/v1/reader-studies/{one.study.pk}/",
            "values": values,
            "order": one.order,
            "api_url": f"{_base(request)}/api/v1/reader-studies/display-sets/{one.pk}/",
        }

    def _value(self, request: Request, slug: str, value: Stored) -> dict[str, Any]:
        kind = self.state.sockets[slug]
        image = f"{_base(request)}/api/v1/cases/images/{value.image}/" if value.image else None
        file = f"{_base(request)}/media/{value.pk}/{value.name}" if value.path else None
        interface = {"slug": slug, "kind": kind.kind, "super_kind": kind.super_kind}
        return {"interface": interface, "value": value.value, "file": file, "image": image, "pk": value.pk}


def _anonymous(request: Request) -> Response:
    """Lists are empty, the own profile is nobody's, everything else is refused (recording 01)."""
    if request.url.path.endswith("/profiles/users/self/"):
        return JSONResponse({"user": {"username": "AnonymousUser"}})
    if request.method == "GET" and request.url.path.endswith(
        ("reader-studies/", "display-sets/", "uploads/")
    ):
        return JSONResponse({"count": 0, "next": None, "previous": None, "results": []})
    return JSONResponse({"detail": "Authentication credentials were not provided."}, 401)


def _found(known: dict[str, Any], request: Request, missing: str) -> Any:
    found = known.get(request.path_params["pk"])
    if found is None:
        raise RefusedError(404, {"detail": missing})
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


def _xml(status: int, code: str) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'
    return Response(body, status, media_type="application/xml")
