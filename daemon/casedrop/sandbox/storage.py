"""The storage behind the platform: presigned addresses, parts, and the bytes of file values."""

import base64
import hashlib
import hmac
import uuid
from datetime import UTC, datetime, timedelta

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from casedrop.sandbox.state import State

URL_SECONDS = 3600
DATE = "%Y%m%dT%H%M%SZ"
WORDS = {
    "InvalidArgument": "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature "
    "query string parameter or the Authorization header should be specified",
    "AccessDenied": "Access Denied",
    "BadDigest": "The Content-MD5 you specified did not match what we received.",
    "NoSuchUpload": "The specified upload does not exist.",
    "NoSuchKey": "The specified key does not exist.",
}


class Storage:
    """Takes and gives bytes under signed addresses only, never with a token beside (recording 16)."""

    def __init__(self, state: State) -> None:
        self.state = state

    def routes(self) -> list[Route]:
        return [
            Route("/storage/uploads/{pk}/{number:int}", self.put_part, methods=["PUT"]),
            Route("/storage/media/{pk:int}", self.stored, methods=["GET"]),
        ]

    def signed(self, base: str, path: str) -> str:
        date = datetime.now(UTC).strftime(DATE)
        query = f"X-Amz-Date={date}&X-Amz-Expires={URL_SECONDS}&X-Amz-SignedHeaders=host"
        return f"{base}{path}?{query}&X-Amz-Signature={self._signature(path, date)}"

    async def stored(self, request: Request) -> Response:
        if refused := self._refuse_unsigned(request):
            return refused
        with self.state.lock:
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
                await run_in_threadpool(file.write, chunk)
                md5.update(chunk)
        wanted = request.headers.get("Content-MD5")
        if wanted and wanted != base64.b64encode(md5.digest()).decode():
            path.unlink()
            return _xml(400, "BadDigest")
        number = request.path_params["number"]
        path.replace(found.folder / str(number))
        found.etags[number] = md5.hexdigest()
        return Response(status_code=200, headers={"ETag": f'"{md5.hexdigest()}"'})

    def _signature(self, path: str, date: str) -> str:
        return hmac.new(self.state.key.encode(), f"{path} {date}".encode(), "sha256").hexdigest()

    def _refuse_unsigned(self, request: Request) -> Response | None:
        if "Authorization" in request.headers:
            return _xml(400, "InvalidArgument")
        query = request.query_params
        date = query.get("X-Amz-Date", "")
        right = hmac.compare_digest(self._signature(request.url.path, date), query.get("X-Amz-Signature", ""))
        return None if right and _age(date) < timedelta(seconds=URL_SECONDS) else _xml(403, "AccessDenied")


def _age(date: str) -> timedelta:
    return datetime.now(UTC) - datetime.strptime(date, DATE).replace(tzinfo=UTC)


def _xml(status: int, code: str) -> Response:
    start = '<?xml version="1.0" encoding="UTF-8"?>'
    body = f"{start}<Error><Code>{code}</Code><Message>{WORDS[code]}</Message></Error>"
    return Response(body, status, media_type="application/xml")
