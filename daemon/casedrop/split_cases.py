"""A split folder: a head case, which alone moves the folder, and a case for each part.

What is proven for one case holds so for each part as it is.
"""

from collections.abc import Iterable
from dataclasses import replace

from casedrop.answers import Meaning
from casedrop.errors import FolderChanged, Refused, Waits
from casedrop.grand_challenge import GrandChallenge
from casedrop.intake import begin_part
from casedrop.journal import Journal
from casedrop.model import Case, Problem, Weight
from casedrop.near import shown
from casedrop.split import said_of
from casedrop.stages import AT_REST, Stage

PARTS_SECONDS = 5.0
"""Until a split folder is looked at again; it is woken when a part comes to rest."""


def divided(journal: Journal, platform: GrandChallenge, case: Case) -> Case:
    """A split folder: each part is a case of its own; FILING once all have come to rest. Raises Waits.

    Its plan then tells of all that was sent, so that a later change of any file is noticed.
    """
    known = {part.part: part for part in journal.parts(case)}
    for plan in case.settled.parts:
        before = known.get(plan.part)
        if before is None or before.round != case.round:
            known[plan.part] = begin_part(journal, case, plan, before)
    parts = [part for _, part in sorted(known.items()) if part.round == case.round]
    if any(part.stage not in AT_REST for part in parts):
        raise Waits("Its parts are on their way.", PARTS_SECONDS)
    if any(part.stage is Stage.SETTLING for part in parts):
        raise FolderChanged("The folder changed while its parts were sent.")
    problems = [said_of(part.part, problem) for part in parts for problem in part.problems]
    earlier = [part for part in known.values() if part.round != case.round]
    problems += [_left_behind(one) for one in _begun_and_left(platform, [case, *earlier])]
    failed = any(problem.weight is not Weight.NOTE for problem in problems)
    target = "failed" if failed or any(part.stage is Stage.FAILED for part in parts) else "done"
    sockets = tuple(socket for part in parts for socket in part.settled.sockets)
    plan = replace(case.settled, sockets=sockets)
    return journal.save(
        case, stage=Stage.FILING, target=target, filed_as="", problems=tuple(problems), plan=plan
    )


def wait_for_other_parts(journal: Journal, case: Case) -> None:
    """Nothing of a split folder is sent before each part was read whole, or failed.

    Raises Waits, FolderChanged.
    """
    if not case.head:
        return
    head = journal.case(case.head)
    stages = journal.stages_of_parts(head)
    if Stage.SETTLING in stages:
        raise FolderChanged("Another part of the folder is not whole.")
    if len(stages) < len(head.settled.parts) or Stage.PLANNED in stages:
        raise Waits("Its other parts are being read first.", 1.0)


def _begun_and_left(platform: GrandChallenge, cases: Iterable[Case]) -> list[Case]:
    """What readers see that was begun of parts that are no more, or of the folder before it was split."""
    unfinished = [one for one in cases if one.reached and one.stage is not Stage.DONE]
    return [one for one in unfinished if _is_there(platform, one)]


def _is_there(platform: GrandChallenge, case: Case) -> bool:
    try:
        platform.display_set(case.set_pk)
    except Refused as no:
        if no.meaning is Meaning.GONE:
            return False
        raise
    return True


def _left_behind(case: Case) -> Problem:
    what = f'the part "{shown(case.part)}", which the folder has no more' if case.part else "the whole folder"
    return Problem(
        "left-behind",
        f"The {case.item} was begun for {what}. It is incomplete, and readers can see it. Delete it on Grand "
        "Challenge, or give the part its former name back; then move the folder into drop/ again.",
    )
