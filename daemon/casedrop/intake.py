"""From what the scanner found to a case in the journal: here its plan is frozen."""

import time
from dataclasses import dataclass, replace
from typing import Any

from casedrop.grand_challenge import ReaderStudy
from casedrop.journal import Journal, TitleHeldError
from casedrop.model import Case, Failure, Finding, FindingState, Plan, Problem
from casedrop.redrop import title_held
from casedrop.stages import Stage

AT_FIRST = {"filed_as": "", "tries": 0, "late_looks": 0, "amends": False, "asked": ()}
"""Whatever was before: each time a folder is taken, this begins anew."""

PLACES = ("root", "folder", "platform", "study", "study_pk", "study_slug", "archive")
OF_THE_FOLDER = ("folder", "first_name", "device", "inode", "round")
"""What a part has from the whole folder's case."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the cases of a root go."""

    root: str
    platform: str
    study: ReaderStudy


def known(journal: Journal, root: str, finding: Finding, *, inodes: bool) -> Case | None:
    """The newest case of a folder by its name, or a failed one that bears another name by now.

    That is told by the inode number, where `inodes` says that a folder keeps it.
    """
    named = journal.latest(root, finding.folder)
    return named or (journal.renamed(root, finding.device, finding.inode) if inodes else None)


def begin(
    journal: Journal, to: Destination, finding: Finding, before: Case | None
) -> tuple[Case, Case | None]:
    """The case of a folder that is READY or WRONG, and the case it continues.

    A failed folder that comes back, or one that changed before its commit, keeps its case: with it what
    is on the platform already. Where the drop goes to another reader study since, it begins anew there. A
    title held by another folder's case is refused. `before` is what is `known` of it; one that was renamed to put
    it right goes by its new name, and nobody has allowed it the files of another. What has a display set keeps the
    title and the order that were given to it.
    """
    assert finding.grouping is not None
    same = before is not None and finding.folder in (before.folder, before.filed_as)
    first: dict[str, Any] = {} if same else {"twins_allowed": False}
    first["first_name"] = before.name if before and same and before.name != finding.folder else ""
    again = before if before and _goes_on(before, to) else None
    if finding.state is FindingState.WRONG:
        return _journalled(
            journal, to, finding, again, first | _failing(finding.signature, *finding.grouping.problems)
        ), again
    facts = first | _planned(finding.grouping.plan, again) | {"round": again.round + 1 if again else 1}
    try:
        return _journalled(journal, to, finding, again, facts), again
    except TitleHeldError as held:
        facts |= _held(held.holder, finding.signature)
        return _journalled(journal, to, finding, again, facts), again


def begin_part(journal: Journal, head: Case, plan: Plan, before: Case | None) -> Case:
    """The case of one part of a split folder; `before` is the newest that the head has of that name.

    One that failed or went back to settling goes on, as a whole folder does; one that is done is what the new case
    is compared with, whatever its title would be by now.
    """
    assert head.plan is not None
    plan = replace(plan, signature=head.plan.signature)
    again = before if before and before.stage in (Stage.FAILED, Stage.SETTLING) else None
    facts = _planned(plan, again) | AT_FIRST | {name: getattr(head, name) for name in OF_THE_FOLDER}
    facts |= {"head": head.id, "since": time.time()}
    if before and before.stage is Stage.DONE and not before.deleted:
        facts["twin_of"] = before.id
    try:
        return _put(journal, head, again, facts)
    except TitleHeldError as held:
        return _put(journal, head, again, facts | _held(held.holder, ""))


def _planned(plan: Plan | None, again: Case | None) -> dict[str, Any]:
    return {
        "stage": Stage.PLANNED,
        "target": "",
        "plan": _as_committed(plan, again) if plan and again else plan,
        "problems": (),
        "judged": "",
        "twin_of": 0,
    }


def _as_committed(plan: Plan, again: Case) -> Plan:
    """Title and order go with the first request alone, whatever the rules have come to be since."""
    before = again.plan
    if before is None or not before.title or not plan.title or not again.committed or again.twin_of:
        return plan
    return replace(plan, title=before.title, order=before.order)


def _held(holder: Case, judged: str) -> dict[str, Any]:
    """What becomes of a case whose title another has: of one that is done it may be the same again, or add."""
    return {"twin_of": holder.id} if holder.stage is Stage.DONE else _failing(judged, title_held(holder))


def _goes_on(before: Case, to: Destination) -> bool:
    there = (before.platform, before.study_pk) == (to.platform, to.study.pk)
    return there and before.stage in (Stage.FAILED, Stage.SETTLING)


def _failing(judged: str, *problems: Problem) -> dict[str, Any]:
    return {"stage": Stage.FILING, "target": "failed", "problems": problems, "judged": judged}


def _journalled(
    journal: Journal, to: Destination, finding: Finding, again: Case | None, facts: dict[str, Any]
) -> Case:
    facts |= AT_FIRST | {
        "device": finding.device,
        "inode": finding.inode,
        "since": time.time(),
        "folder": finding.folder,
    }
    study = to.study
    new = Case(0, to.root, finding.folder, to.platform, study.url, study.pk, study.slug, Stage.PLANNED, 0.0)
    return _put(journal, replace(new, archive=study.archive), again, facts)


def _failure(case: Case) -> Failure:
    """How the case ended, for the history: what is in the case itself is of the next time from now on."""
    set_pk = case.set_pk if case.came_to else ""
    return Failure(case.since, tuple(case.reasons), set_pk, case.sent_size, case.name, case.filed_as)


def _put(journal: Journal, like: Case, again: Case | None, facts: dict[str, Any]) -> Case:
    """The case `again` with these facts, or a new one that goes where `like` does."""
    if again:
        if again.stage is Stage.FAILED:
            facts |= {"failed_before": (*again.failed_before, _failure(again))}
        return journal.save(again, **facts, uploads=again.uploads_uncounted)
    places = {name: getattr(like, name) for name in PLACES}
    return journal.begin(Case(id=0, **places | facts))
