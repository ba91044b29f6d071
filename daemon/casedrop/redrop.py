"""What becomes of a folder whose title or whose files another folder has already. Pure."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from casedrop.errors import Waits
from casedrop.model import Case, Held, PlannedSocket, Problem
from casedrop.near import several, shown
from casedrop.stages import Stage

PERSON = 20.0
"""Seconds until we look again at what waits for a person."""


def held_now(family: Iterable[Case]) -> dict[str, Held]:
    """By socket, what the cases of one display set (oldest first) have seen it hold; the newest knows best."""
    return {socket: value for case in family for socket, value in case.held.items()}


class HasPk(Protocol):
    """A value of a display set."""

    @property
    def pk(self) -> int: ...


def held_of(family: Iterable[Case], there: Mapping[str, HasPk]) -> dict[str, Held]:
    """By socket, what the display set holds now that one of its cases has put there: told by the value's pk.

    What can never be confirmed has none, and counts by the newest case.
    """
    return {
        socket: value
        for case in family
        for socket, value in case.held.items()
        if not value.pk or (socket in there and value.pk == there[socket].pk)
    }


def already_there(case: Case, family: Iterable[Case], there: Mapping[str, HasPk]) -> bool:
    """Whether the display set holds (`there`) just what the folder has, and one of its cases put it there.

    Where it may amend the display set, a part of that is enough.
    """
    seen = list(family)
    now = {socket: value.fingerprint for socket, value in held_of(seen, there).items()}
    contents = case.settled.contents
    if not contents.items() <= now.items() or lacking(case, there):
        return False
    done = [one for one in seen if one.stage is Stage.DONE]
    together = {socket: value.fingerprint for socket, value in held_now(done).items()}
    whole = contents in (together, *(one.settled.contents for one in done))
    return whole or case.settled.existing != "refuse"


def not_to_amend(case: Case, there: Mapping[str, object], wanted: Iterable[PlannedSocket]) -> list[Problem]:
    """What of the folder may not be changed in the finished display set, which holds the sockets `there`."""
    problems = []
    taken = sorted(one.socket for one in wanted if one.socket in there and one.socket not in case.added)
    if case.settled.existing == "add" and taken:
        text = (
            f"The {case.item} is finished and already holds {several(taken)}, with other contents "
            'than this folder has. This drop only adds what a display set lacks (existing_display_set = "add"). '
            "Remove those files from the folder, or ask the data manager to allow replacing."
        )
        problems.append(Problem("already-held", text))
    return problems + lacking(case, there)


def lacking(case: Case, there: Mapping[str, object]) -> list[Problem]:
    """Required sockets that the folder leaves to the display set, but that are not there either."""
    gone = sorted(socket for socket in case.settled.relies_on if socket not in there)
    if not gone:
        return []
    text = (
        f"There is nothing in the folder for the required {several(gone)}, and the {case.kind} does not hold it "
        "any more. Put the missing files into the folder."
    )
    return [Problem("missing-file", text)]


def title_held(holder: Case) -> Problem:
    where = f"as the {holder.item}" if holder.committed else "and is on its way"
    folder = shown(holder.known_as)
    return Problem(
        "title-held",
        f'The title "{holder.settled.title}" belongs to the folder "{folder}" that was taken before '
        f"{where}, and the contents of this one differ. Each title can be used once in the {holder.home}, so "
        "nothing of this folder was sent. If it is another patient or visit, give the folder another name. If it "
        f"is to add to or correct that {holder.kind}, ask the data manager (existing_display_set).",
    )


def same_files(case: Case, other: Case) -> Waits:
    """The guard against a patient's files in another patient's folder."""
    state = f"done as the {other.item}" if other.stage is Stage.DONE else "on its way"
    away = "Remove the wrong one" if case.head and case.head == other.head else "Move this one out of drop/"
    return Waits(
        f'It holds the very same files as the folder "{shown(other.known_as)}", which is {state}. One of the '
        f"two is probably in the wrong folder. {away}; or, if both are right, the administrator lets it go on "
        f"with `casedrop retry DROP/{shown(case.called)}`.",
        PERSON,
        person=True,
    )


def twin_deleted(twin: Case) -> Waits:
    return Waits(
        f"It was uploaded before as the {twin.item}, which is gone from Grand Challenge or hidden from this user. "
        "If it was deleted on purpose, move the folder out of drop/; to make a new one, the administrator "
        "says `casedrop retry DROP/NAME`.",
        PERSON,
        person=True,
    )
