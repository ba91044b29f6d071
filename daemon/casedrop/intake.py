"""From what the scanner found to a case in the journal: here its plan is frozen."""

import time
from dataclasses import dataclass
from typing import Any

from casedrop.grand_challenge import ReaderStudy
from casedrop.journal import Journal, TitleHeldError
from casedrop.model import Case, Finding, FindingState, Problem
from casedrop.redrop import title_held
from casedrop.stages import Stage


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
    it right goes by its new name, and nobody has allowed it the files of another.
    """
    assert finding.grouping is not None
    same = before is not None and finding.folder in (before.folder, before.filed_as)
    first: dict[str, Any] = {} if same else {"twins_allowed": False}
    first["first_name"] = before.name if before and same and before.name != finding.folder else ""
    again = before if before and _goes_on(before, to) else None
    if finding.state is FindingState.WRONG:
        return _journalled(
            journal, to, finding, again, first | _failing(finding, *finding.grouping.problems)
        ), again
    facts = first | {
        "stage": Stage.PLANNED,
        "target": "",
        "plan": finding.grouping.plan,
        "problems": (),
        "judged": "",
        "twin_of": 0,
    }
    try:
        return _journalled(journal, to, finding, again, facts), again
    except TitleHeldError as held:
        if held.holder.stage is Stage.DONE:
            return _journalled(journal, to, finding, again, facts | {"twin_of": held.holder.id}), again
        return _journalled(
            journal, to, finding, again, first | _failing(finding, title_held(held.holder))
        ), again


def _goes_on(before: Case, to: Destination) -> bool:
    there = (before.platform, before.study_pk) == (to.platform, to.study.pk)
    return there and before.stage in (Stage.FAILED, Stage.SETTLING)


def _failing(finding: Finding, *problems: Problem) -> dict[str, Any]:
    return {"stage": Stage.FILING, "target": "failed", "problems": problems, "judged": finding.signature}


def _journalled(
    journal: Journal, to: Destination, finding: Finding, again: Case | None, facts: dict[str, Any]
) -> Case:
    facts |= {
        "device": finding.device,
        "inode": finding.inode,
        "since": time.time(),
        "folder": finding.folder,
        "filed_as": "",
        "tries": 0,
        "late_looks": 0,
        "amends": False,
        "asked": (),
    }
    if again:
        return journal.save(again, **facts, uploads=again.uploads_uncounted)
    study = to.study
    return journal.begin(
        Case(
            id=0,
            root=to.root,
            platform=to.platform,
            study=study.url,
            study_pk=study.pk,
            study_slug=study.slug,
            **facts,
        )
    )
