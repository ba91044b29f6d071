"""One request gives the display set its title and all its values, or changes nothing.

The display set is made empty under a one-time title that stands in the journal before the request: an
answer that is lost is settled by looking for exactly that title, which nobody else can have. A set whose
title is still the one-time one is not committed; any other title means it is.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from casedrop.answers import Meaning
from casedrop.errors import CaseProblem, Refused, SetupProblem, Unclear, Waits
from casedrop.grand_challenge import DisplaySet, GrandChallenge
from casedrop.model import Case, Json, PlannedSocket, Problem
from casedrop.near import several
from casedrop.redrop import PERSON
from casedrop.stages import Stage


class Save(Protocol):
    """Journal.save: the case with these changes, once they are on disk."""

    def __call__(self, case: Case, **changes: Any) -> Case: ...


def to_send(case: Case) -> list[PlannedSocket]:
    """The sockets of the plan that the platform is not known to hold as planned."""
    held = {socket: value.fingerprint for socket, value in case.held.items()}
    return [socket for socket in case.settled.sockets if held.get(socket.socket) != socket.fingerprint]


def next_request(case: Case) -> list[PlannedSocket]:
    """What one request carries: all at once into a new display set, but for images of another socket's.

    Those have an address only once they are attached there. In a set that is committed already the plain
    values wait until files and images are confirmed, so that an import that fails leaves no new score beside an
    old image.
    """
    missing = to_send(case)
    on_their_way = {socket.socket for socket in missing}
    large = [socket for socket in missing if socket.super_kind != "Value"]
    chosen = large if large and case.committed else missing
    return [socket for socket in chosen if socket.image_of not in on_their_way]


def lacks_only_copies(case: Case) -> bool:
    """Whether nothing is missing but images of other sockets', for which no file is needed."""
    missing = to_send(case)
    is_begun = case.committed and case.stage is Stage.UPLOADING
    return is_begun and bool(missing) and all(one.image_of for one in missing)


def awaited(case: Case) -> list[PlannedSocket]:
    """The sockets that were asked for and are not confirmed yet."""
    return [socket for socket in to_send(case) if socket.socket in case.asked or not case.asked]


def shell(platform: GrandChallenge, case: Case, save: Save) -> Case:
    """The case with its empty display set."""
    if case.set_pk:
        return case
    made = _titled(platform, case) if case.one_time_title else None
    if made is None:
        case = save(case, one_time_title=case.one_time_title or f"casedrop-{secrets.token_urlsafe(16)}")
        made = _made(platform, case)
    return save(case, set_pk=made.pk)


def _made(platform: GrandChallenge, case: Case) -> DisplaySet:
    """Always under the same title: a request thought lost that comes through late cannot make a second one."""
    try:
        study = case.study_pk if case.archive else case.study_slug
        return platform.create_display_set(study, case.one_time_title)
    except Refused as no:
        if no.meaning is Meaning.TITLE_TAKEN:
            raise Unclear(f"The empty {case.kind} has come to be meanwhile.", answered=True) from None
        raise


def still_empty(platform: GrandChallenge, case: Case, save: Save) -> Case:
    """The case, if the display set made in an earlier try is as it was made; without it, if it was deleted.

    Nothing was sent into it yet, so a new one may be made. Raises Waits where it is no longer empty.
    """
    try:
        current = platform.display_set(case.set_pk)
    except Refused as no:
        if no.meaning is not Meaning.GONE:
            raise
        return save(case, set_pk="", one_time_title="")
    if current.title == case.one_time_title and not current.values:
        return case
    raise Waits(
        f"The {case.item}, made for this folder, holds something Casedrop does not remember "
        "having sent: somebody changed it, or the journal is a restored one. Compare it with the folder. If it "
        "is right, the administrator can file the folder as done with `casedrop accept`; if not, delete it on "
        "Grand Challenge.",
        PERSON,
        person=True,
    )


def _titled(platform: GrandChallenge, case: Case) -> DisplaySet | None:
    found = (one for one in platform.display_sets(case.study_pk) if one.title == case.one_time_title)
    return next(found, None)


def sessions(platform: GrandChallenge, case: Case, address: Callable[[str], str], save: Save) -> Case:
    """An idle session for each image: it tells later what became of the image.

    `address` gives the address of the completed upload of a path. A session made but not journalled is
    idle for ever and harmless.
    """
    for socket in next_request(case):
        if socket.super_kind != "Image" or socket.image_name or socket.image_of:
            continue
        addresses = [address(file.path) for file in socket.files]
        try:
            made = platform.create_session(addresses)
        except Refused as no:
            if no.meaning is not Meaning.NOT_OFFERED:
                raise
            continue
        before = case.sessions.get(socket.socket, ())
        case = save(case, sessions=case.sessions | {socket.socket: (*before, made.pk)})
    return case


@dataclass(frozen=True, slots=True)
class Addresses:
    """Of a path's upload, of a session by its pk, and of the image that a socket holds now."""

    upload: Callable[[str], str]
    session: Callable[[str], str]
    image: Callable[[str], str]


def body(case: Case, addresses: Addresses) -> Json:
    """The one request: title and order (once) and every value to send."""
    values = [_value(case, socket, addresses) for socket in next_request(case)]
    if case.committed:
        return {"values": values}
    order = {"order": case.settled.order} if case.settled.order else {}
    return {"title": case.settled.title} | order | {"values": values}


def _value(case: Case, socket: PlannedSocket, addresses: Addresses) -> Json:
    value: dict[str, Json] = {"interface": socket.socket}
    uploads = [addresses.upload(file.path) for file in socket.files]
    if socket.super_kind == "Value":
        value["value"] = socket.value
    elif socket.image_of:
        value["image"] = addresses.image(socket.image_of)
    elif socket.super_kind == "File":
        (value["user_upload"],) = uploads
    elif socket.socket in case.sessions:
        value["upload_session"] = addresses.session(case.sessions[socket.socket][-1])
    else:
        value["user_uploads"] = uploads
        value |= {"image_name": socket.image_name} if socket.image_name else {}
    return value


def commit(platform: GrandChallenge, case: Case, save: Save) -> Case:
    """Send the journalled request until it is decided; a case that comes here twice is a repeat."""
    return _send(platform, case, save, repeat=False)


def settle_doubt(platform: GrandChallenge, case: Case, save: Save) -> Case:
    """The request may have been done: look, and only if it was not, send exactly the same again."""
    if _was_taken(platform, case):
        return _accepted(case, save, unclear=True)
    return _send(platform, case, save, repeat=True)


def _send(platform: GrandChallenge, case: Case, save: Save, *, repeat: bool) -> Case:
    try:
        platform.update_display_set(case.set_pk, json.loads(case.patch))
    except Refused as no:
        if repeat and _was_taken(platform, case):
            return _accepted(case, save, unclear=True)
        if repeat and case.tries < 1:
            raise Unclear("The repeated request was refused; one more look decides.", answered=True) from None
        return _refused(case, no, save, repeat=repeat)
    return _accepted(case, save, unclear=case.unclear)


def _accepted(case: Case, save: Save, *, unclear: bool) -> Case:
    return save(case, stage=Stage.CONFIRMING, committed=True, patch="", unclear=unclear, tries=0)


def _was_taken(platform: GrandChallenge, case: Case) -> bool:
    """Whether the journalled request was done, told by what it must have changed."""
    current = _existing(platform, case)
    if not case.committed:
        return current.title != case.one_time_title
    return any(_stirred(platform, case, current, name) for name in _sockets(case))


def _stirred(platform: GrandChallenge, case: Case, current: DisplaySet, socket: str) -> bool:
    """Whether a socket has another value than before the request, or its session is no longer idle."""
    held = current.values.get(socket)
    if held and held.pk != case.replaced.get(socket):
        return True
    made = case.sessions.get(socket, ())
    return bool(made) and platform.session(made[-1]).status != "Queued"


def _sockets(case: Case) -> list[str]:
    """The sockets named in the journalled request."""
    return [value["interface"] for value in json.loads(case.patch)["values"]]


def _existing(platform: GrandChallenge, case: Case) -> DisplaySet:
    try:
        return platform.display_set(case.set_pk)
    except Refused as no:
        if no.meaning is Meaning.GONE:
            raise deleted(case) from None
        raise


def deleted(case: Case) -> Waits:
    return Waits(
        f"Its {case.item} is gone from Grand Challenge or hidden from this user. Casedrop "
        "does not make a second one by itself. If it was deleted on purpose, move the folder out of drop/; "
        "to make a new one, the administrator says `casedrop retry DROP/NAME`.",
        PERSON,
        person=True,
    )


def _refused(case: Case, no: Refused, save: Save, *, repeat: bool) -> Case:
    """What a definite no to the request means for the case."""
    match no.meaning:
        case Meaning.GONE if not case.committed and not repeat:
            save(case, stage=Stage.UPLOADING, patch="", set_pk="", one_time_title="")
            raise Unclear(f"The empty {case.kind} was deleted by someone; a new one is made.", answered=True)
        case Meaning.GONE:
            raise deleted(case)
        case Meaning.UPLOAD_DIED:
            save(case, stage=Stage.UPLOADING, patch="")
            raise Unclear("An upload is no longer there; it is sent anew.", answered=True)
        case Meaning.TITLE_TAKEN:
            save(case, stage=Stage.UPLOADING, patch="")
            raise title_held(case)
        case Meaning.FORBIDDEN:
            raise SetupProblem(f"The token's user may no longer edit this {case.home}.")
        case Meaning.CLOSED:
            save(case, stage=Stage.UPLOADING, patch="")
            raise closed(case)
        case _:
            save(case, stage=Stage.UPLOADING, patch="")
            raise CaseProblem(_value_refused(_sockets(case), no))


def title_held(case: Case) -> Waits:
    return Waits(
        f'The {case.home} already holds the {case.kind} "{case.settled.title}", and it was not made from this '
        "folder by this Casedrop. Casedrop never touches what it did not make. Rename or delete it on Grand "
        "Challenge, or move the folder out of drop/. If it holds this very folder, the administrator can "
        "say `casedrop accept`, which compares the two and files the folder as done.",
        PERSON,
        person=True,
    )


def closed(case: Case) -> CaseProblem:
    unsent = (
        f"Not sent: {several(one.socket for one in to_send(case))}." if case.held else "Nothing was sent."
    )
    text = (
        f"The display set {case.address} has answers of readers (or ground truth), so Grand Challenge does "
        f"not let it be changed. {unsent} Ask the reader study's editors to remove the answers first."
    )
    return CaseProblem(Problem("closed", text))


def _value_refused(sockets: list[str], no: Refused) -> Problem:
    return Problem(
        "value-refused",
        f"Grand Challenge refused the values for this folder (sent: {', '.join(sockets)}). It said: "
        f"{no.text or no.status}. Nothing of it was stored. Correct the file or value that it names.",
    )
