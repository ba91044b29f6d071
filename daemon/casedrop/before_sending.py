"""What the headers of the files that are to be sent say against them, before anything is read whole."""

from collections.abc import Mapping
from dataclasses import replace

from casedrop import grids, magic, watch
from casedrop.dicom_model import DicomHeader
from casedrop.grids import Grids
from casedrop.model import Drop, Grouping, PlannedFile, PlannedSocket, Problem, SocketKind, Weight
from casedrop.near import shown
from casedrop.volumes import FROM_THE_END, HEAD, Volume, volume
from casedrop.voxels import shorter


def with_checks(
    folder: str,
    drop: Drop,
    grouping: Grouping,
    kinds: Mapping[str, SocketKind] | None,
    headers: Mapping[str, DicomHeader],
) -> Grouping:
    """The grouping with what is wrong by magic, size and grid, and its masks with their socket's segments.

    The whole of a file is read but once, for its checksums (inside.py). Raises OSError.
    """
    if grouping.draft is None:
        return grouping
    problems, seen = [], {}
    for socket in grouping.draft.sockets:
        found, seen[socket.socket] = _looked_at(folder, socket, headers)
        problems += found
    problems += _grid_problems(drop, grouping.draft.sockets, seen)
    stops = any(problem.weight is not Weight.NOTE for problem in problems)
    sockets = tuple(_with_segments(socket, kinds) for socket in grouping.draft.sockets)
    draft = replace(grouping.draft, sockets=sockets)
    plan = None if stops or grouping.plan is None else draft
    return replace(grouping, plan=plan, draft=draft, problems=(*grouping.problems, *problems))


def _with_segments(socket: PlannedSocket, kinds: Mapping[str, SocketKind] | None) -> PlannedSocket:
    return replace(socket, segments=kinds[socket.socket].segments) if kinds and socket.files else socket


def _looked_at(
    folder: str, socket: PlannedSocket, headers: Mapping[str, DicomHeader]
) -> tuple[list[Problem], Grids]:
    """Of DICOM only the grid: its other checks are made elsewhere."""
    if not socket.files:
        return [], ()
    first = socket.files[0]
    if first.packed:
        has_grid = first.is_series and len(socket.files) == 1
        return [], grids.of_series([headers[one.path] for one in first.packed]) if has_grid else ()
    files = [file for file in socket.files if file.size and file.path not in headers]
    heads = {file.path: _head(folder, file) for file in files}
    wrong = {
        path: words for path, head in heads.items() if (words := magic.mistaken(path, head[: magic.HEAD]))
    }
    if wrong or len(files) < len(socket.files):
        return [_mistaken(path, words) for path, words in wrong.items()], ()
    header, data = files[0], files[-1]
    known = volume(header.path, heads[header.path])
    return _size_problems(known, data) if known else [], known.grids if known else ()


def _head(folder: str, file: PlannedFile) -> bytes:
    if file.content is not None:
        return file.content.encode("latin-1")[:HEAD]
    return watch.read_head(folder, file.path, HEAD)


def _mistaken(path: str, words: str) -> Problem:
    text = f"{shown(path)} {words}. Save it in that format, or give it the extension of the format it is in."
    return Problem("file-format", text)


def _size_problems(known: Volume, data: PlannedFile) -> list[Problem]:
    """Of voxels that are not packed; more than there should be is only said, since readers pass over it."""
    if known.start is None or known.packed or data.path.lower().endswith(".gz") or not known.size:
        return []
    start = max(data.size - known.size, 0) if known.start == FROM_THE_END else known.start
    held = max(data.size - start, 0)
    if held < known.size:
        return [shorter(data.path, held, known.size)]
    if held == known.size:
        return []
    text = f"{shown(data.path)} holds {held - known.size} bytes more than the voxels its header speaks of."
    return [Problem("more-data", text, Weight.NOTE)]


def _grid_problems(
    drop: Drop, sockets: tuple[PlannedSocket, ...], seen: Mapping[str, Grids]
) -> list[Problem]:
    planned = {socket.socket: socket for socket in sockets}
    asked = {rule.socket: rule.same_grid_as for rule in drop.sockets if rule.same_grid_as}
    pairs = [(one, asked[one]) for one in asked if one in planned and asked[one] in planned]
    found = [_grid_problem(planned[one], planned[other], seen) for one, other in pairs]
    return [problem for problem in found if problem]


def _grid_problem(one: PlannedSocket, other: PlannedSocket, seen: Mapping[str, Grids]) -> Problem | None:
    if unknown := [socket for socket in (one, other) if not seen[socket.socket]]:
        text = (
            f"Whether {one.source} lies on the grid of {other.socket} (same_grid_as) was not looked at: the "
            f"header of {unknown[0].source} does not tell its grid."
        )
        return Problem("other-grid", text, Weight.NOTE)
    differences = grids.apart(seen[one.socket], seen[other.socket])
    if not differences:
        return None
    text = (
        f"{one.source} does not lie on the grid of {other.socket} ({other.source}), as same_grid_as asks: "
        f"{'; '.join(differences)}. Is it of this image? Resample it to the image's grid and save it again."
    )
    return Problem("other-grid", text)
