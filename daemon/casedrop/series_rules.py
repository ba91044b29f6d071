"""What the rules make of the DICOM in a case folder: which series is sent, and what becomes of the rest. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from casedrop import guards, patients, planned
from casedrop.dicom_model import TAKEN, DicomHeader, SeriesLine
from casedrop.model import (
    ALLOW,
    Drop,
    Entry,
    PlannedFile,
    PlannedSocket,
    Problem,
    Procedure,
    SocketKind,
    SocketRule,
    SourceFile,
    Weight,
)
from casedrop.near import several
from casedrop.series import (
    Series,
    is_unreadable,
    line,
    matching,
    name,
    near,
    picked,
    place,
    rule_words,
    series_of,
)

ZIP, IMAGE_SET = "ZIP file", "DICOM Image Set"
"""Kinds of sockets that take DICOM in another way than an image socket does."""


@dataclass(slots=True)
class Dicom:
    """All DICOM of one case folder, each file in exactly one of `series`, `left_out`, `objects`, `unreadable`.

    `left_out` are the series that the drop leaves out. `objects` are no images (reports, plans, directories),
    `reports` are they in series.
    `sent` and `passed_over` fill while sockets are planned: series by the socket that sends it, and those
    a rule fits but does not pick.
    """

    headers: Mapping[str, DicomHeader] = field(default_factory=dict)
    series: tuple[Series, ...] = ()
    left_out: tuple[Series, ...] = ()
    objects: Mapping[str, DicomHeader] = field(default_factory=dict)
    reports: tuple[Series, ...] = ()
    unreadable: tuple[str, ...] = ()
    sent: dict[str, Series] = field(default_factory=dict)
    passed_over: list[Series] = field(default_factory=list)


def sorted_out(headers: Mapping[str, DicomHeader], files: Mapping[str, Entry], drop: Drop) -> Dicom:
    """The DICOM among `files`; of `headers` only theirs count."""
    known = {path: header for path, header in sorted(headers.items()) if path in files}
    found = series_of(known, {path: entry.size for path, entry in files.items()})
    out = [one for one in found if any(matching(rule, [one]) for rule in drop.leave_out)]
    return Dicom(
        known,
        tuple(one for one in found if one not in out),
        tuple(out),
        {path: one for path, one in known.items() if not one.image and not is_unreadable(one)},
        series_of(known, {path: entry.size for path, entry in files.items()}, images=False),
        tuple(path for path, one in known.items() if is_unreadable(one)),
    )


def candidates(dicom: Dicom, kind: SocketKind | None) -> tuple[Series, ...]:
    """What a socket of this kind can take: a zip also what is no image."""
    return (*dicom.series, *dicom.reports) if kind and kind.kind == ZIP else dicom.series


def takers(
    dicom: Dicom, rules: Iterable[SocketRule], kinds: Mapping[str, SocketKind] | None
) -> dict[str, set[str]]:
    """Each file of a series with the sockets whose ``dicom`` rule fits it; of a series left out none."""
    found: dict[str, set[str]] = {
        path: set() for one in (*dicom.series, *dicom.left_out, *dicom.reports) for path in one.paths
    }
    for rule in rules:
        can = candidates(dicom, kinds[rule.socket] if kinds else None)
        for one in matching(rule.dicom, can) if rule.dicom is not None else ():
            for path in one.paths:
                found[path].add(rule.socket)
    return found


def named(dicom: Dicom, paths: Collection[str]) -> list[str]:
    """What to call these files: a series once, whatever is no series by its path."""
    wanted = set(paths)
    series = [one for one in (*dicom.series, *dicom.left_out, *dicom.reports) if wanted & set(one.paths)]
    in_series = {path for one in series for path in one.paths}
    return [*(name(one) for one in series), *(path for path in paths if path not in in_series)]


def series_socket(
    dicom: Dicom,
    drop: Drop,
    rule: SocketRule,
    claimed: Collection[str],
    *,
    files: Mapping[str, Entry],
    kind: SocketKind | None,
) -> tuple[PlannedSocket | None, list[Problem]]:
    """The one series among the `claimed` files, or why there is none."""
    wanted = set(claimed)
    found = [one for one in candidates(dicom, kind) if wanted & set(one.paths)]
    chosen = picked(rule.pick, found)
    if len(chosen) != 1:
        problem = _several_series(rule, chosen) if chosen else _no_series(dicom, rule)
        return None, [problem] if problem else []
    dicom.passed_over += [one for one in found if one is not chosen[0]]
    dicom.sent[rule.socket] = chosen[0]
    problems = _odd_files(dicom, rule, wanted, chosen[0])
    procedure = procedure_of(drop, rule)
    allow = (*drop.allow, *rule.allow)
    problems += guards.series_problems(chosen[0], procedure, allow)
    sources = tuple(planned.source(files[path]) for path in chosen[0].paths)
    return _planned(rule, name(chosen[0]), sources, procedure, kind), problems


def never_taken(rule: SocketRule, procedure: Procedure) -> str:
    """Why every series of this rule would be refused, "" where that is not certain (PS3.3, C.7.3.1.1.1)."""
    wanted = [one for test in rule.dicom or () if test.keyword == "Modality" for one in test.globs]
    known = any(fnmatchcase(one, pattern.upper()) for pattern in wanted for one in ("CT", "MR", "SM"))
    if procedure.name != "grand-challenge" or not wanted or known:
        return ""
    return (
        f"takes Modality {' or '.join(wanted)}, which Grand Challenge's own procedure does not de-identify (it "
        'knows CT, MR and whole-slide images). Set deidentify = "dicom-standard", or "already-done" for the drop.'
    )


def procedure_of(drop: Drop, rule: SocketRule) -> Procedure:
    """How this rule's series is de-identified: the drop's way, and what drop and rule allow of it."""
    allowed = {*drop.procedure.allow, *drop.allow, *rule.allow}
    return replace(drop.procedure, allow=tuple(word for word in ALLOW if word in allowed))


def _planned(
    rule: SocketRule,
    source: str,
    files: tuple[SourceFile, ...],
    procedure: Procedure,
    kind: SocketKind | None,
) -> PlannedSocket:
    """One zip; of a DICOM image set each file by itself. No file's path ends in a slash."""
    if kind and kind.kind == IMAGE_SET:
        names = [f"{number:05}.dcm" for number in range(1, len(files) + 1)]
        single = zip(names, files, strict=True)
        each = [_made(f"{rule.socket}/{one}/", one, (file,), procedure) for one, file in single]
        bare = tuple(replace(one, bare=True) for one in each)
        return PlannedSocket(rule.socket, "Image", source, bare, image_name=rule.socket)
    zipped = _made(f"{rule.socket}.zip/", f"{rule.socket[:124]}.zip", files, procedure)
    return PlannedSocket(rule.socket, "File" if kind and kind.kind == ZIP else "Image", source, (zipped,))


def _made(path: str, upload_name: str, packed: tuple[SourceFile, ...], procedure: Procedure) -> PlannedFile:
    return PlannedFile(path, upload_name, 0, 0, 0, 0, packed=packed, procedure=procedure)


def _several_series(rule: SocketRule, found: list[Series]) -> Problem:
    fitting = several(name(one) for one in found)
    rule_said = ", ".join(rule.as_written) if rule.dicom is None else rule_words(rule.dicom)
    alike = f" They are alike in what is picked ({rule.pick})." if rule.pick else ""
    text = (
        f'The socket "{rule.socket}" takes one series, but {fitting} fit its rule ({rule_said}).{alike} Remove '
        "what does not belong, or ask the data manager to narrow the rule or to leave such series out."
    )
    return Problem("several-series", text)


def _no_series(dicom: Dicom, rule: SocketRule) -> Problem | None:
    wanted = rule.dicom or ()
    hint = near(wanted, dicom.series, dicom.objects)
    if rule.required:
        text = (
            f'No series for the socket "{rule.socket}" (it takes {rule_words(wanted)}). {hint} Copy what is '
            "missing, or ask the data manager to change the rule."
        )
        return Problem("missing-series", text, Weight.LACKING)
    return None


def _odd_files(dicom: Dicom, rule: SocketRule, claimed: set[str], series: Series) -> list[Problem]:
    """What a ``files`` rule takes beside the series, and what it leaves of it."""
    problems = []
    if others := sorted(claimed - dicom.headers.keys()):
        text = (
            f'The socket "{rule.socket}" takes one image, but {name(series)} and {several(others)} fit its rule '
            f"({', '.join(rule.as_written)}). Remove what does not belong, or narrow the rule."
        )
        problems.append(Problem("two-files", text))
    count = len(claimed & set(series.paths))
    if count < len(series.files):
        text = (
            f'The rule of the socket "{rule.socket}" ({", ".join(rule.as_written)}) takes only {count} of the '
            f"{len(series.files)} files of {name(series)}. A series is one image: ask the data manager to widen "
            "the pattern, or to give the rule `dicom` instead of `files`."
        )
        problems.append(Problem("part-of-series", text))
    return problems


def refused(dicom: Dicom, rule: SocketRule, claimed: Iterable[str]) -> Problem | None:
    """DICOM that a rule takes for a file or a value: it would leave as it is, names and all."""
    found = [path for path in claimed if path in dicom.headers]
    if not found:
        return None
    text = (
        f"DICOM goes only into an image socket, where it can be de-identified, and {rule.socket} is none, but its "
        f"rule takes {several(named(dicom, found))}. Remove it, or ask the data manager to narrow the rule."
    )
    return Problem("dicom", text)


def folder_problems(dicom: Dicom, drop: Drop, claimed: Collection[str]) -> list[Problem]:
    """What is doubtful of the folder as a whole, and one problem for each series that nobody takes."""
    found = [
        patients.patients_problem(dicom.headers) or patients.studies_problem(dicom.sent.values()),
        guards.unreadable([*dicom.unreadable]) if dicom.unreadable else None,
    ]
    problems = guards.weighed([one for one in found if one], drop.allow)
    if objects := unsent_objects(dicom):
        text = f"Left out, since they are no images: {_counted(objects)}."
        problems.append(Problem("dicom-object", text, Weight.NOTE))
    if drop.unmatched == "fail":
        problems += [_unmatched(one) for one in _unclaimed(dicom, claimed)]
    return problems


def unsent_objects(dicom: Dicom) -> dict[str, DicomHeader]:
    """Those that no zip takes."""
    sent = {path for one in dicom.sent.values() for path in one.paths}
    return {path: header for path, header in dicom.objects.items() if path not in sent}


def _unclaimed(dicom: Dicom, claimed: Collection[str]) -> list[Series]:
    taken = set(claimed)
    return [one for one in dicom.series if not taken & set(one.paths)]


def _unmatched(series: Series) -> Problem:
    text = (
        f"No rule takes {name(series)}. Remove it, or ask the data manager to add a rule, or to leave such series "
        "out (leave_out)."
    )
    return Problem("unmatched-series", text)


def _counted(objects: Mapping[str, DicomHeader]) -> str:
    words = Counter(_word(header) for header in objects.values())
    return ", ".join(f"{count} x {word}" for word, count in sorted(words.items()))


def _word(header: DicomHeader) -> str:
    """``Basic Text SR``; of a directory its usual name."""
    word = header.class_name.removesuffix(" Storage")
    return "DICOMDIR" if word == "Media Storage Directory" else word or "DICOM of an unknown class"


def left_out(dicom: Dicom, claimed: Collection[str]) -> tuple[str, ...]:
    """What of the DICOM is not sent, a series in a few words."""
    series = (*dicom.left_out, *dicom.passed_over, *_unclaimed(dicom, claimed))
    objects: dict[str, list[str]] = {}
    for path, header in unsent_objects(dicom).items():
        objects.setdefault(_word(header), []).append(path)
    no_images = (f"{place(paths)} ({word})" for word, paths in objects.items())
    return (*(name(one) for one in series), *no_images, *dicom.unreadable)


def lines(dicom: Dicom, claims: Mapping[str, Iterable[str]]) -> tuple[SeriesLine, ...]:
    """Every series as ``casedrop plan`` shows it."""
    taken = {path for path, sockets in claims.items() if sockets}
    found = [line(one, "left out as configured (leave_out)", ()) for one in dicom.left_out]
    for one in dicom.series:
        sockets = tuple(sorted({socket for path in one.paths for socket in claims.get(path, ())}))
        fate = TAKEN if taken & set(one.paths) else "no rule takes it"
        fate = "left out: another is picked" if one in dicom.passed_over else fate
        found.append(line(one, fate, sockets))
    return tuple(sorted(found, key=lambda one: one.first))
