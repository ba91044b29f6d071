"""The sandbox's pages for a browser, under the addresses that receipts and reasons name."""

from collections.abc import Callable, Iterable
from functools import partial

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from casedrop.near import shown
from casedrop.sandbox import pages
from casedrop.sandbox.state import DisplaySet, State, Study

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


class Web:
    """Asks for no token and shows none: whoever can reach the loopback address of this machine may look."""

    def __init__(self, state: State) -> None:
        self.state = state

    def routes(self) -> list[Route]:
        return [
            Route("/", self._page(self.index)),
            *self._routes("/reader-studies/{slug}/", "display-sets/{pk}/", self.state.studies),
            *self._routes("/archives/{slug}/", "items/{pk}/", self.state.archives),
        ]

    def _routes(self, study: str, one: str, known: dict[str, Study]) -> list[Route]:
        return [
            Route(study, self._page(partial(self.study, known))),
            Route(study + one, self._page(partial(self.display_set, known))),
            Route(f"{study}{one}files/{{value:int}}/", partial(self.file, known)),
        ]

    def _page(self, text: Callable[[Request], str | None]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            with self.state.lock:
                found = text(request)
            return HTMLResponse(found, headers=HEADERS) if found else _missing()

        return answer

    def index(self, _: Request) -> str:
        return pages.index(
            self._counted(self.state.studies.values()), self._counted(self.state.archives.values())
        )

    def _counted(self, studies: Iterable[Study]) -> list[tuple[Study, int]]:
        return [(one, len(list(self.state.study_sets(one.pk)))) for one in studies]

    def study(self, known: dict[str, Study], request: Request) -> str | None:
        found = known.get(request.path_params["slug"])
        return pages.study(found, list(self.state.study_sets(found.pk))) if found else None

    def display_set(self, known: dict[str, Study], request: Request) -> str | None:
        found = self._found(known, request)
        if found is None:
            return None
        sessions = [one for one in self.state.sessions.values() if one.display_set == found.pk]
        return pages.display_set(found, self.state.sockets, self.state.images, sessions)

    def file(self, known: dict[str, Study], request: Request) -> Response:
        """To be saved, never to be shown: it may hold what a browser would run."""
        with self.state.lock:
            found = self._found(known, request)
            values = list(found.values.values()) if found else []
        for value in values:
            if value.path and value.pk == request.path_params["value"]:
                kind = "application/octet-stream"
                return FileResponse(value.path, headers=HEADERS, media_type=kind, filename=shown(value.name))
        return _missing()

    def _found(self, known: dict[str, Study], request: Request) -> DisplaySet | None:
        found = self.state.display_sets.get(request.path_params["pk"])
        return found if found and found.study is known.get(request.path_params["slug"]) else None


def _missing() -> Response:
    return HTMLResponse(pages.missing(), 404, HEADERS)
