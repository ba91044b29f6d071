"""Folders that `casedrop retry` moves back into drop/: failed ones, and done ones whose row has changed."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from casedrop import file_away
from casedrop.contents import group_folder
from casedrop.errors import FolderChanged, SetupProblem
from casedrop.journal import Journal
from casedrop.model import Case, Drop, Listing, SocketKind
from casedrop.model import Finding as Seen
from casedrop.near import shown
from casedrop.only_rows import Before, why_more
from casedrop.prepare import unchanged
from casedrop.settle import data, signature
from casedrop.table_changes import Changed, compared, is_told_elsewhere, named, not_sent, why_not
from casedrop.titles import Naming
from casedrop.watch import list_folder

if TYPE_CHECKING:
    from casedrop.grand_challenge import ReaderStudy

Finding = tuple[bool, str]


def moved_back(drop: Drop, place: str, name: str, case: Case) -> Finding:
    """From `place` ("done" or "failed"), where it is called `name`."""
    root = Path(drop.root)
    try:
        file_away.rename(root / place / name, root / "drop" / case.name)
    except FileExistsError:
        return False, f"{shown(name)}: drop/ already has a folder {shown(case.name)}."
    except OSError as error:
        return False, f"{shown(name)} cannot be moved ({error.strerror})."
    again = "" if name == case.name else f", as {shown(case.name)}"
    return True, f"{shown(name)} is in drop/ again{again}."


def with_new_row(
    drop: Drop,
    journal: Journal,
    found: list[Case],
    naming: Naming,
    goes_to: "tuple[ReaderStudy, dict[str, SocketKind]]",
) -> Finding:
    """Move a done folder back whose row has changed, where the drop lets its new values, and no more, be sent.

    `found` are the done cases of a folder of that name, the newest first. Raises SetupProblem.
    """
    study, kinds = goes_to
    done = Path(drop.root) / "done"
    there = _in_place(done, found)
    case = (there or found)[0]
    name = shown(case.filed_as)
    if not there and os.path.lexists(done.with_name("drop") / case.name):
        return False, f"{shown(case.name)} is in drop/ and on its way: `casedrop status` says how far it is."
    if case.study_pk != study.pk:
        return False, f"{name} went to {case.study}, and this drop does not go there any more."
    before = _before(drop, journal, case, naming, kinds)
    parts = [Changed(one.sent, one.changes) for one in before if one.changes]
    if not parts:
        return False, f"{name} is done, and no table says anything else of it than what was sent."
    if why := why_not(drop.existing_display_set, parts):
        return False, f"{name} stays as it is. What would be another now: {named(parts)}. {why}"
    if not there:
        return (
            False,
            f"{name} is not in done/ any more. Copy it into drop/ again: only what has changed is sent.",
        )
    folder = done / case.filed_as

    def today(listing: Listing) -> str:
        """The folder goes by its first name."""
        called = replace(data(listing, drop.ignore), folder=case.name)
        held = partial(journal.there, case.platform, case.study_pk)
        return why_more(drop, group_folder(str(folder), called, drop, kinds, held, naming=naming), before)

    if why := _not_as_sent(folder, case, today):
        return False, f"{name} stays in done/: {why}"
    well, text = moved_back(drop, "done", case.filed_as, case)
    return well, f"{text}{_outlook(drop, parts)}" if well else text


def only_what_changed(
    drop: Drop,
    journal: Journal,
    root: str,
    finding: Seen,
    by: tuple[Naming, Mapping[str, SocketKind]],
) -> str:
    """What would be sent of a settled folder in drop/ that is done already, in words.

    "" where that is not just what changed in a table, or cannot be told without reading files. `root` is its id.
    """
    if finding.grouping is None or not is_told_elsewhere(drop):
        return ""
    done = (one for one in journal.done(root, finding.folder) if _is_as_sent(one, finding, drop))
    case = next(done, None)
    before = _before(drop, journal, case, *by) if case else []
    parts = [Changed(one.sent, one.changes) for one in before if one.changes]
    if not parts or why_not(drop.existing_display_set, parts) or why_more(drop, finding.grouping, before):
        return ""
    return f"only what changed in a table would be sent: {_what(parts)}"


def _is_as_sent(case: Case, finding: Seen, drop: Drop) -> bool:
    if case.plan is None or case.study_slug != (drop.archive or drop.reader_study):
        return False
    then = signature(Listing(case.folder, case.plan.entries), drop.ignore)
    return (case.device, case.inode, then) == (finding.device, finding.inode, finding.signature)


def _in_place(done: Path, found: list[Case]) -> list[Case]:
    try:
        return [one for one in found if file_away.is_folder(done / one.filed_as, (one.device, one.inode))]
    except OSError as error:
        raise SetupProblem(f"{done} cannot be looked into ({error.strerror}).") from None


def _before(
    drop: Drop, journal: Journal, case: Case, naming: Naming, kinds: Mapping[str, SocketKind]
) -> list[Before]:
    """Of each part; of the folder itself where it has none."""
    known = [(one, sent) for one in journal.parts(case) or [case] for sent in journal.sent_to(one.set_pk)]
    changed = compared(drop, naming, kinds, (sent for _, sent in known))
    return [
        Before(one.settled, sent, changed[one.set_pk].changes if one.set_pk in changed else ())
        for one, sent in known
    ]


def _not_as_sent(folder: Path, case: Case, today: Callable[[Listing], str]) -> str:
    """Only values of tables are sent again: why more would be, "" where not.

    `today` says what of the folder's listing would be more, by the rules of today.
    """
    try:
        listing = list_folder(str(folder))
        unchanged(str(folder), case.settled, data(listing, case.settled.ignore), lambda: None)
        return today(listing)
    except OSError as error:
        return f"it cannot be read ({error.strerror})."
    except FolderChanged:
        return (
            "something in it changed or came after it had been filed away, so more than values of tables would be "
            "sent. Take that out; or, if all of it is to be sent, move the folder into drop/ by hand."
        )


def _outlook(drop: Drop, parts: list[Changed]) -> str:
    asks = " It asks to be released first (`casedrop release`)." if drop.release == "ask" else ""
    return f" Once it has settled, only what changed in a table is sent: {_what(parts)}.{asks}"


def _what(parts: list[Changed]) -> str:
    rest = not_sent(change for one in parts for change in one.changes)
    return named(parts) + (f". What cannot be sent: {rest}" if rest else "")
