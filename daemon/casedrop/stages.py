"""How far a case can be, and every legal move, in one table."""

from enum import StrEnum


class Stage(StrEnum):
    PLANNED = "planned"
    """Frozen in the journal; nothing is on the platform."""
    UPLOADING = "uploading"
    COMMITTING = "committing"
    """The request that gives the display set its values is journalled; its answer is not known."""
    CONFIRMING = "confirming"
    """Accepted; the platform is checking and importing."""
    FILING = "filing"
    """The outcome and the name in done/ or failed/ are decided; the rename may be done or not."""
    DONE = "done"
    FAILED = "failed"
    SETTLING = "settling"
    """The folder changed or went away before the commit: it settles again, or never comes back."""


MOVES = {
    Stage.PLANNED: {Stage.UPLOADING, Stage.FILING, Stage.SETTLING},
    Stage.UPLOADING: {Stage.COMMITTING, Stage.CONFIRMING, Stage.FILING, Stage.SETTLING},
    Stage.COMMITTING: {Stage.UPLOADING, Stage.CONFIRMING, Stage.FILING},
    Stage.CONFIRMING: {Stage.UPLOADING, Stage.FILING},
    Stage.FILING: {Stage.DONE, Stage.FAILED, Stage.SETTLING},
    Stage.DONE: set[Stage](),
    Stage.FAILED: {Stage.PLANNED, Stage.FILING},
    Stage.SETTLING: {Stage.PLANNED, Stage.FILING},
}

AT_REST = frozenset({Stage.DONE, Stage.FAILED, Stage.SETTLING})
"""Nothing is under way: the folder is filed, or it is the scanner's again."""

DELIVERED = frozenset({Stage.PLANNED, Stage.UPLOADING, Stage.COMMITTING})
"""A case thread takes the case from here to CONFIRMING."""


class IllegalMoveError(Exception):
    """Our own mistake, never the platform's or the people's."""


def move(before: Stage, after: Stage) -> Stage:
    """`after`, if that move stands in the table or is none."""
    if after != before and after not in MOVES[before]:
        raise IllegalMoveError(f"{before} -> {after}")
    return after
