"""What people decide about cases: `casedrop accept` and `casedrop retry`, and how the service grants it.

These commands look; the service, which alone changes a case, acts on the wish they leave in the journal.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import cattrs

from casedrop import confirm, reach, roots, running
from casedrop.answers import Meaning
from casedrop.check import check_platform
from casedrop.config import Settings, drop_named, read_token
from casedrop.errors import CasedropError, ConfigurationError, Refused
from casedrop.grand_challenge import DisplaySet, GrandChallenge
from casedrop.journal import Journal, of_service
from casedrop.model import Case, Drop, Held, Json
from casedrop.naming_check import naming_for_plan
from casedrop.near import shown
from casedrop.resend import moved_back, with_new_row
from casedrop.settle import signature
from casedrop.stages import AT_REST, Stage
from casedrop.status import outdated_words, released, rules
from casedrop.table_changes import is_told_elsewhere
from casedrop.watch import list_folder

Finding = tuple[bool, str]
Findings = list[Finding]


def accept(settings: Settings, environ: Mapping[str, str], which: str, *, every: bool) -> Findings:
    """For each chosen case under way: whether its display set holds just what the folder does, in words."""
    if bool(which) == every:
        raise ConfigurationError(["Name one folder as DROP/NAME, or say --all."])
    token = read_token(settings, environ)
    platform = reach.platform(settings, lambda: token)
    journal = of_service(settings.state.directory)
    chosen = list(_chosen(settings, journal, which))
    if not chosen and which:
        raise ConfigurationError([f"{which} is not under way: `casedrop status` lists what is."])
    found = [_accepted(platform.of(archive=case.archive), journal, drop, case) for drop, case in chosen]
    return [one for one in found if one] or [(True, "No folder waits for that.")]


def retry(
    settings: Settings, environ: Mapping[str, str], which: str, *, every: bool, reason: str
) -> Iterable[Finding]:
    """Move failed folders back into drop/, and done ones whose row of a table has changed.

    Of one under way whose display set is gone, a new one is asked for. Each folder is moved when what came of it
    is asked for, so that people see it as it happens.
    """
    drop = _drop(settings, which)
    journal = of_service(settings.state.directory)
    name = which.partition("/")[2]
    if bool(name) == every:
        raise ConfigurationError(["Name one folder as DROP/NAME, or say DROP --all."])
    failed = journal.failed(roots.root_id(Path(drop.root)))
    there = {one: case for one, case in failed.items() if os.path.isdir(Path(drop.root) / "failed" / one)}
    if every:
        wanted = [one for one, case in there.items() if _has_reason(case, reason)]
        moved = (moved_back(drop, "failed", one, there[one]) for one in wanted)
        return moved if wanted else [_none_such(there.values())]
    if name in there and not _has_reason(there[name], reason):
        return [_none_such([there[name]])]
    if name in there:
        return [moved_back(drop, "failed", name, there[name])]
    token = read_token(settings, environ)
    platform = reach.platform(settings, lambda: token)
    found = [
        _made_anew(platform.of(archive=case.archive), journal, case)
        for _, case in _chosen(settings, journal, which)
    ]
    if found:
        return found
    done = journal.done(roots.root_id(Path(drop.root)), name.partition("/")[0])
    if done and is_told_elsewhere(drop):
        if why := _sends_nothing(drop, "say this again") or _outdated(
            drop, running.outdated(settings), "moved"
        ):
            return [(False, why)]
        naming = naming_for_plan(settings, environ, drop, offline=False)
        return [with_new_row(drop, journal, done, naming, check_platform(platform, drop))]
    raise ConfigurationError([f"There is no {name} in failed/ of {drop.name}, and none under way."])


def release(settings: Settings, which: str, *, every: bool) -> Findings:
    """Let settled folders of drops that ask for it (release = "ask") go, as they are now."""
    if bool(which) == every:
        raise ConfigurationError(["Name a drop, or one folder as DROP/NAME, or say --all."])
    drops = [_drop(settings, which)] if which else [one for one in settings.drops if one.release == "ask"]
    name = which.partition("/")[2]
    journal = of_service(settings.state.directory)
    outdated = running.outdated(settings)
    found: Findings = []
    for drop in drops:
        if why := _not_to_release(drop, name, outdated):
            found.append((False, why))
        else:
            found += [_let_go(journal, drop, folder) for folder in _waiting(settings, drop, name)]
    what = f"{which} does not wait" if which else "No folder waits"
    where = (
        "`casedrop status` says how things are" if running.is_up(settings) else "the service is not running"
    )
    return found or [(not name, f"{what} to be released: {where}.")]


def _not_to_release(drop: Drop, name: str, outdated: list[str]) -> str:
    """Why nothing is let go, "" where it may be: what went by outdated rules could not be taken back."""
    root = Path(drop.root)
    whole, _, part = name.partition("/")
    if part and os.path.isdir(root / "drop" / whole):
        return f"Only a whole folder is released: `casedrop release {drop.name}/{shown(whole)}`."
    if name and not os.path.isdir(root / "drop" / name):
        which = f"{drop.name}/{shown(name)}"
        if os.path.isdir(root / "failed" / name):
            return f"{which} is in failed/: put right what its reason says, then `casedrop retry {which}`."
        if os.path.isdir(root / "done" / name):
            return f"{which} is in done/: it was sent, and its receipt beside it says what became of it."
    if why := _sends_nothing(drop, "release"):
        return why
    if drop.release != "ask":
        return f'{drop.name} does not ask (release = "auto"): its folders go by themselves.'
    return _outdated(drop, outdated, "let go")


def _sends_nothing(drop: Drop, then: str) -> str:
    if drop.mode != "rehearse":
        return ""
    words = f'{drop.name} rehearses (mode = "rehearse"), so nothing of it is sent'
    return f"{words}. Take mode out and reload the service (`systemctl reload casedrop`); then {then}."


def _outdated(drop: Drop, outdated: list[str], what: str) -> str:
    return f"{outdated_words([drop.name])} Nothing is {what} before." if drop.name in outdated else ""


def _waiting(settings: Settings, drop: Drop, name: str) -> list[str]:
    """What the service shows as settled and waiting for that: nothing else was seen by anybody."""
    try:
        report = running.report(settings)
    except OSError as error:
        raise ConfigurationError([f"There is no status ({error.strerror}): start the service."]) from None
    cases = [case for one in report["drops"] if one["name"] == drop.name for case in one["cases"]]
    asked = {case["folder"] for case in cases if "`casedrop release " in case["why"]}
    there = roots.folders_in(Path(drop.root) / "drop", drop.ignore)
    return [one for one in there if name in ("", one) and shown(one) in asked]


def _let_go(journal: Journal, drop: Drop, folder: str) -> tuple[bool, str]:
    name = f"{drop.name}/{shown(folder)}"
    listing = list_folder(str(Path(drop.root) / "drop" / folder))
    seen = released(signature(listing, drop.ignore), rules(drop))
    journal.release(roots.root_id(Path(drop.root)), folder, seen)
    return True, f"{name} is let go as it is now. If it or the drop's rules change first, it asks again."


def pause(settings: Settings, which: str, *, every: bool, paused: bool) -> Iterable[Finding]:
    """Stop a drop, or all of them, from sending, or let them go on; kept over restarts."""
    if which and every:
        raise ConfigurationError(["Name one drop, or say --all."])
    journal = of_service(settings.state.directory)
    drops = [_drop(settings, which)] if which else settings.drops
    return (_paused(journal, drop, paused=paused) for drop in drops)


def _paused(journal: Journal, drop: Drop, *, paused: bool) -> Finding:
    try:
        root = roots.root_id(Path(drop.root))
    except CasedropError as problem:
        return False, f"{drop.name}: {problem}"
    if journal.paused(root) is paused:
        return True, f"{drop.name} {'is paused already' if paused else 'is not paused'}: nothing is changed."
    journal.pause(root, paused=paused)
    how = "pauses: nothing more of it is sent" if paused else "goes on"
    return True, f"{drop.name} {how}, within a second where the service runs."


def _leaves_its_twin(case: Case, wish: Json) -> bool:
    return wish == "anew" and bool(case.twin_of) and case.stage not in (Stage.FILING, *AT_REST)


def changed_by(journal: Journal, case: Case, wish: Json) -> list[Case]:
    """The other cases that granting it changes: those of a display set that is gone."""
    if not _leaves_its_twin(case, wish):
        return []
    gone = journal.case(case.twin_of).set_pk
    return [one for one in journal.of_set(gone) if one.id != case.id] if gone else []


def grant(journal: Journal, case: Case, wish: Json) -> None:
    """Change the case as decided; nothing where it has moved on since."""
    anew = {
        "set_pk": "",
        "one_time_title": "",
        "committed": False,
        "patch": "",
        "replaced": {},
        "sessions": {},
    }
    if case.stage in (Stage.COMMITTING, Stage.CONFIRMING):
        # what the display set that is gone was promised, it may still take in
        anew["uploads"] = {}
    if "accept" in wish and case.stage in (Stage.PLANNED, Stage.UPLOADING):
        held = cattrs.structure(wish["held"], dict[str, Held])
        known = anew | {"set_pk": wish["accept"], "committed": True, "held": held}
        journal.save(journal.save(case, stage=Stage.UPLOADING), stage=Stage.CONFIRMING, **known)
    elif _leaves_its_twin(case, wish):
        for one in changed_by(journal, case, wish):
            journal.save(one, deleted=True)
        journal.save(case, twin_of=0, amends=False, added=(), held={}, deleted=False, **anew)
    elif wish == "sent again":
        journal.save(case, uploads=case.uploads_uncounted)
    elif wish == "same files":
        journal.save(case, twins_allowed=True)
    elif wish == "anew" and case.stage in (Stage.UPLOADING, Stage.COMMITTING, Stage.CONFIRMING):
        journal.save(case, stage=Stage.UPLOADING, held={}, **anew)


def _drop(settings: Settings, which: str) -> Drop:
    return drop_named(settings, which.partition("/")[0])


def _chosen(settings: Settings, journal: Journal, which: str) -> Iterator[tuple[Drop, Case]]:
    """The cases under way that `which` names, all for ""."""
    for drop in [_drop(settings, which)] if which else settings.drops:
        for case in journal.under_way(roots.root_id(Path(drop.root))):
            split = case.plan is not None and case.plan.parts
            if not split and (not which or which.partition("/")[2] in (case.folder, case.called)):
                yield drop, case


def _none_such(there: Iterable[Case]) -> tuple[bool, str]:
    words = sorted({word for case in there for word in case.reasons})
    known = f"; the reasons there are: {', '.join(words)}" if words else ""
    return not words, f"There is none such in failed/{known}."


def _has_reason(case: Case, word: str) -> bool:
    return not word or word in case.reasons


def _accepted(platform: GrandChallenge, journal: Journal, drop: Drop, case: Case) -> tuple[bool, str] | None:
    name = f"{drop.name}/{shown(case.called)}"
    if case.committed or case.plan is None or case.stage not in (Stage.PLANNED, Stage.UPLOADING):
        return None
    try:
        found = _there(platform, case)
        if found is None:
            return None
        if any(not file.sha256 for socket in case.settled.sockets for file in socket.files):
            return False, f"{name}: its files have not been read yet; try again in a moment."
        held, differences = _compared(platform, case, found)
    except CasedropError as problem:
        return False, f"{name}: {problem}"
    page = f"the {replace(case, set_pk=found.pk).item}"
    if differences:
        return False, f"{name}: {page} is not this folder: {'; '.join(differences)}. Nothing is changed."
    journal.wish(case.id, {"accept": found.pk, "held": {slug: asdict(value) for slug, value in held.items()}})
    return True, f"{name}: {page} holds just what this folder does. The running service files it as done."


def _there(platform: GrandChallenge, case: Case) -> DisplaySet | None:
    """The set with values that bears the case's title, or was made for it."""
    if case.set_pk:
        found = platform.display_set(case.set_pk)
        return found if found.values else None
    titled = (one for one in platform.display_sets(case.study_pk) if one.title == case.settled.title)
    return next(titled, None)


def _compared(platform: GrandChallenge, case: Case, found: DisplaySet) -> tuple[dict[str, Held], list[str]]:
    """Plain values, downloaded file bytes, size and voxel size of images; a socket too many is a difference."""
    case = replace(case, sessions={}, replaced={})
    held = {}
    differences = [
        f"it holds {slug}, for which the folder has nothing"
        for slug in sorted(found.values.keys() - {socket.socket for socket in case.settled.sockets})
    ]
    for socket in case.settled.sockets:
        outcome = confirm.confirm(platform, case, found, socket)
        if isinstance(outcome, confirm.Arrived):
            held[socket.socket] = Held(socket.fingerprint, outcome.pk)
        elif socket.socket in found.values:
            differences.append(f"{socket.socket} differs from {socket.source}")
        else:
            differences.append(f"it lacks {socket.socket}")
    return held, differences


def _made_anew(platform: GrandChallenge, journal: Journal, case: Case) -> tuple[bool, str]:
    if not case.committed and not case.twin_of and journal.same_files(case):
        journal.wish(case.id, "same files")
        return True, f"{shown(case.called)} goes on, though another folder holds the same files."
    if any(ref.expired for ref in case.uploads.values()):
        journal.wish(case.id, "sent again")
        return True, f"{shown(case.called)} is sent again."
    set_pk = journal.case(case.twin_of).set_pk if case.twin_of else case.set_pk
    try:
        if set_pk:
            platform.display_set(set_pk)
        return False, f"{shown(case.called)} is under way: `casedrop status` says what it waits for."
    except Refused as no:
        if no.meaning is not Meaning.GONE:
            raise
    journal.wish(case.id, "anew")
    return True, f"{shown(case.called)}: its {case.kind} is gone. The running service makes a new one."
