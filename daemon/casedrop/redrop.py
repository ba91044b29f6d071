"""What is said of a folder whose title or whose files another folder has already. Pure."""

from casedrop.errors import Waits
from casedrop.model import Case, Problem
from casedrop.near import shown

PERSON = 20.0
"""Seconds until we look again at what waits for a person."""


def title_held(holder: Case) -> Problem:
    where = f"as {holder.address}" if holder.committed else "and is on its way"
    return Problem(
        "title-held",
        f'The title "{holder.settled.title}" belongs to the folder "{shown(holder.name)}" that was taken before '
        f"{where}, and this one is not the same. Each title can be used once in a reader study, so nothing of "
        "this folder was sent. If it is another patient or visit, rename the folder; if it is the same, nothing "
        "needs to be done.",
    )


def same_files(other: Case) -> Waits:
    """The guard against a patient's files in another patient's folder."""
    state = f"done as {other.address}" if other.committed else "on its way"
    return Waits(
        f'It holds the very same files as the folder "{shown(other.name)}", which is {state}. One of the '
        "two is probably in the wrong folder. Move this one out of drop/; or, if both are right, `casedrop retry` "
        "lets it go on.",
        PERSON,
        person=True,
    )


def twin_deleted(twin: Case) -> Waits:
    return Waits(
        f"It was uploaded before as {twin.address}, which is gone from Grand Challenge or hidden from this user. "
        "If it was deleted on purpose, move the folder out of drop/; to make a new one, `casedrop retry`.",
        PERSON,
        person=True,
    )
