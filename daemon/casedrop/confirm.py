"""The platform holds every value we meant to send, and it is the same image.

A 200 is a promise: files and images are taken later, and may be refused without a word. Only what the
display set lists counts.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from casedrop.grand_challenge import DisplaySet, GrandChallenge, Session, Value
from casedrop.headers import same
from casedrop.model import Case, Json, PlannedSocket, Problem, Weight

PENDING_STATES = frozenset({"Queued", "Started", "Re-Queued"})


@dataclass(frozen=True, slots=True)
class Arrived:
    """The display set holds this value (`pk`), and it is what was sent."""

    pk: int


@dataclass(frozen=True, slots=True)
class Pending:
    """Not there yet; `late` is what it means if it never comes, `under_way` that its import has begun."""

    late: Problem
    under_way: bool = False


Outcome = Arrived | Pending | Problem


def confirm(platform: GrandChallenge, case: Case, current: DisplaySet, socket: PlannedSocket) -> Outcome:
    """What has become of one socket of a committed display set."""
    value = current.values.get(socket.socket)
    if socket.image_of:
        return _image_of(socket, value, current.values.get(socket.image_of))
    if value is not None and value.pk == case.replaced.get(socket.socket) and socket.super_kind != "Value":
        value = None
    match socket.super_kind:
        case "Value":
            return _plain(socket, value)
        case "File":
            return _file(platform, socket, value)
        case "Image" if socket.image_name:
            return _image_set(socket, value)
        case "Image":
            return _image(platform, socket, value, case.sessions.get(socket.socket, ()))


def equal(sent: Json, held: Json) -> bool:
    """Whether two JSON values are the same; 2 and 2.0 are, 1 and true are not."""
    if isinstance(sent, bool) or isinstance(held, bool):
        return sent is held
    if isinstance(sent, dict) and isinstance(held, dict):
        return sent.keys() == held.keys() and all(equal(sent[key], held[key]) for key in sent)
    if isinstance(sent, list) and isinstance(held, list):
        return len(sent) == len(held) and all(map(equal, sent, held))
    return bool(sent == held)


def _plain(socket: PlannedSocket, value: Value | None) -> Outcome:
    if value is not None and equal(socket.value, value.value):
        return Arrived(value.pk)
    return Pending(
        Problem(
            "value-missing",
            f'The socket "{socket.socket}": Grand Challenge accepted the value but does not hold it; an editor '
            "may have changed it since.",
        )
    )


def _file(platform: GrandChallenge, socket: PlannedSocket, value: Value | None) -> Outcome:
    if value is None or value.file is None:
        return Pending(
            Problem(
                "file-missing",
                f'The socket "{socket.socket}": Grand Challenge accepted {socket.source} but never showed it. It '
                "gives no reason for files; one that does not fit the socket (a .json file against the "
                "socket's schema, for example) vanishes silently. Check the file's contents.",
            )
        )
    (file,) = socket.files
    if _sha256(platform.download(value.file)) == file.sha256:
        return Arrived(value.pk)
    return Problem(
        "file-differs",
        f'The socket "{socket.socket}": the file Grand Challenge holds is not {socket.source} byte for byte.',
    )


def _image(
    platform: GrandChallenge, socket: PlannedSocket, value: Value | None, sessions: tuple[str, ...]
) -> Outcome:
    known = [platform.session(pk) for pk in sessions]
    if failure := _failure(socket, known):
        return failure
    ours = {image for session in known for image in session.images}
    if value is None or value.image is None or (known and value.image not in ours):
        begun = any(session.status in PENDING_STATES - {"Queued"} for session in known)
        return Pending(_never_attached(socket, known), begun)
    return _compared(platform, socket, value.pk, value.image)


def _image_of(socket: PlannedSocket, value: Value | None, source: Value | None) -> Outcome:
    """The very image of the other socket; it may have been there before, under the pk it had."""
    if value is not None and source is not None and value.image is not None and value.image == source.image:
        return Arrived(value.pk)
    return Pending(
        Problem(
            "image-missing",
            f'The socket "{socket.socket}": Grand Challenge accepted {socket.source} but does not hold it; an '
            "editor may have changed it since.",
        )
    )


def _image_set(socket: PlannedSocket, value: Value | None) -> Outcome:
    """No API tells of its import or of an error (CONTRACT.md 5): it is there, or it is not known."""
    if value is not None and value.image is not None:
        return Arrived(value.pk)
    text = (
        f'The socket "{socket.socket}": whether Grand Challenge made a DICOM image set of {socket.source} was not '
        "confirmed, since its API does not tell. Look at the display set."
    )
    return Pending(Problem("not-confirmed", text, Weight.NOTE))


def _failure(socket: PlannedSocket, sessions: list[Session]) -> Problem | None:
    """A failed session counts only when none succeeded or is under way; skipped files always do.

    A session before the last that is still Queued was never started: its request was refused.
    """
    skipped = [one for one in sessions if one.status == "Succeeded" and one.error_message]
    if skipped:
        return _import_problem(socket, skipped[-1].error_message)
    alive = [
        one for one in sessions if one.status == "Succeeded" or one.status in PENDING_STATES - {"Queued"}
    ]
    last = sessions[-1] if sessions else None
    if alive or last is None or last.status == "Queued":
        return None
    return _import_problem(socket, last.error_message or last.status)


def _import_problem(socket: PlannedSocket, said: str) -> Problem:
    return Problem(
        "import-failed",
        f'The socket "{socket.socket}": Grand Challenge could not use {socket.source} as an image. It said: '
        f'"{said}". Check that the file opens in a viewer, and replace it.',
    )


def _never_attached(socket: PlannedSocket, sessions: Iterable[Session]) -> Problem:
    text = f'The socket "{socket.socket}": Grand Challenge did not attach the image from {socket.source}'
    states = [session.status for session in sessions]
    if states:
        return Problem("image-missing", f"{text} in time (its import is {states[-1]}).")
    return Problem("image-missing", f"{text} in time, and gave no reason: this server tells none.")


def _compared(platform: GrandChallenge, socket: PlannedSocket, pk: int, address: str) -> Outcome:
    sent = socket.files[0].geometry
    if sent is None or same(sent, held := platform.image(address)):
        return Arrived(pk)
    return Problem(
        "image-differs",
        f'The socket "{socket.socket}": the image on Grand Challenge has {held.size} voxels of {held.voxel_mm} '
        f"mm, {socket.source} has {sent.size} of {sent.voxel_mm}.",
    )


def _sha256(chunks: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for chunk in chunks:
        whole.update(chunk)
    return whole.hexdigest()
