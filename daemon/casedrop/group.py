"""Files become a display set by the socket rules, or we say exactly why not. Pure.

The order of rules never matters: a file that two rules match is a problem that names both, unless one of
them takes only what no other rule takes (`fallback`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from casedrop import compound, series_rules, table_text, tables, titles
from casedrop.compound import MAX_READ
from casedrop.dicom_model import DicomHeader, keywords
from casedrop.model import (
    Drop,
    Entry,
    EntryKind,
    FolderValue,
    Grouping,
    Json,
    JsonValue,
    LabTable,
    Listing,
    Plan,
    PlannedSocket,
    Problem,
    SocketKind,
    SocketRule,
    TableValue,
    TextValue,
    Weight,
)
from casedrop.near import near_misses, several, shown
from casedrop.planned import IMAGE_EXTENSIONS, as_file, extension, planned, upload_name
from casedrop.series_rules import IMAGE_SET, ZIP, Dicom
from casedrop.settle import composed, data, is_ready_mark, matches
from casedrop.split import WHOLE, Part
from casedrop.tables import Tables
from casedrop.titles import NAMELESS, Naming
from casedrop.values import ValueProblemError, from_cell, from_json, from_text, plain

There = Callable[[str], frozenset[str]]
"""By title: the sockets that the finished display set of that title holds."""

ARCHIVES = (".zip", ".gz", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz")


@dataclass(slots=True)
class Folder:
    """A folder under its rules while it is being grouped."""

    name: str
    drop: Drop
    files: dict[str, Entry]
    contents: Mapping[str, bytes]
    kinds: Mapping[str, SocketKind] | None
    claims: dict[str, list[str]]
    there: frozenset[str] = frozenset()
    dicom: Dicom = field(default_factory=Dicom)
    tables: Tables = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    """The texts that tables' keys are, by name."""
    problems: list[Problem] = field(default_factory=list)
    relies_on: list[str] = field(default_factory=list)
    kept_here: list[str] = field(default_factory=list)
    """Files that belong to an image that is sent, and are not."""

    def wrong(self, word: str, text: str) -> None:
        self.problems.append(Problem(word, text))

    def lacking(self, word: str, text: str) -> None:
        self.problems.append(Problem(word, text, Weight.LACKING))


def needed(listing: Listing, drop: Drop) -> tuple[str, ...]:
    """The small files whose bytes `group` must see: sources of values, tables, and what names further files."""
    files = _files(listing, drop)
    values = tuple(one for rule in drop.sockets if rule.value_from for one in rule.globs)
    patterns = values + tuple(table.csv for table in drop.tables if table.csv)
    headers = (path for path in files if compound.names_others(path))
    return tuple(sorted({*headers, *(path for path in files if patterns and matches(path, patterns))}))


def nothing_there(_: str) -> frozenset[str]:
    return frozenset()


def group(
    listing: Listing,
    drop: Drop,
    contents: Mapping[str, bytes],
    kinds: Mapping[str, SocketKind] | None,
    there: There = nothing_there,
    *,
    naming: Naming = NAMELESS,
    headers: Mapping[str, DicomHeader] | None = None,
    part: Part = WHOLE,
) -> Grouping:
    """The plan of a folder, or of one part of it that `listing` holds, or all its problems at once.

    `contents` holds the first MAX_READ + 1 bytes of the `needed` files; `kinds` is None offline, where
    a socket's kind is guessed from its source. What the finished display set of this title holds
    (`there`) may be missing from the folder. `naming` fills a title's {pseudonym} and {code}, and holds the
    tables that lie elsewhere. `headers` are those of all files that are DICOM, with the values of
    `dicom_keywords`.
    """
    files = _files(listing, drop)
    naming = replace(naming, tables={**naming.tables, **table_text.in_folder(drop, contents, MAX_READ)})
    dicom = series_rules.sorted_out(headers or {}, files, drop)
    name = f"{listing.folder}/{part.name}" if part.name else listing.folder
    folder = Folder(name, drop, files, contents, kinds, {path: [] for path in files}, dicom=dicom)
    folder.tables, folder.groups = naming.tables, titles.groups(drop, listing.folder, part.groups)
    title, problems = titles.title(drop, listing.folder, naming, part.groups)
    order, more = titles.order(drop, listing.folder, naming, part.groups)
    folder.problems += dict.fromkeys([*problems, *more])
    folder.there = there(title) if drop.existing_display_set != "refuse" else frozenset()
    _claim(folder)
    sockets = [made for rule in drop.sockets if not rule.image_of and (made := _socket(folder, rule))]
    sockets += _images_again(folder, sockets)
    left_out = (*_unclaimed(folder, listing, deep=not part.folder), *folder.kept_here)
    claims = {path: tuple(names) for path, names in folder.claims.items()}
    if not sockets and not _stops(folder):
        folder.lacking("nothing-to-send", "There is nothing in the folder that any rule takes.")
    plan = Plan(
        listing.folder,
        title,
        tuple(sockets),
        left_out=left_out,
        existing=drop.existing_display_set,
        relies_on=tuple(folder.relies_on),
        ignore=drop.ignore,
        part=part.name,
        groups=tuple(part.groups.items()),
        order=order,
    )
    return Grouping(
        None if _stops(folder) else plan,
        tuple(folder.problems),
        claims,
        draft=plan,
        series=series_rules.lines(dicom, claims),
        no_images=tuple(series_rules.unsent_objects(dicom)),
    )


def _stops(folder: Folder) -> bool:
    return any(problem.weight is not Weight.NOTE for problem in folder.problems)


def dicom_keywords(drop: Drop) -> tuple[str, ...]:
    """The elements whose values `group` must see of each DICOM file."""
    return keywords((*drop.leave_out, *(rule.dicom for rule in drop.sockets if rule.dicom)))


NO_JSON = frozenset({
    "CSV file", "ZIP file", "PDF file", "SQREG file", "Thumbnail jpg", "Thumbnail png", "OBJ file", "MP4 file",
    "Newick tree-format file", "BIOM format",
})  # fmt: skip
"""Kinds of sockets that hold files and no values (CONTRACT.md 2)."""

EXPERIMENTAL = (
    "a DICOM Image Set takes a series by `dicom`, and Grand Challenge's API never tells what became of it. To "
    "send all the same, set experimental = true: after limits.import_seconds the folder is done, and its receipt "
    "says that this was not confirmed."
)
NOT_EXPERIMENTAL = "experimental goes only with `dicom` and a socket of kind DICOM Image Set."


def check_rules(drop: Drop, kinds: Mapping[str, SocketKind | None]) -> list[str]:
    """What of the rules does not fit the platform: unknown sockets, and sources of the wrong kind."""
    found = []
    for rule in drop.sockets:
        at = f'drops "{drop.name}", socket "{rule.socket}"'
        kind = kinds.get(rule.socket)
        if kind is None:
            found.append(f"{at}: Grand Challenge has no socket of that slug.")
        elif (kind.kind == IMAGE_SET) is not (rule.experimental and rule.dicom is not None):
            found.append(f"{at}: {EXPERIMENTAL if kind.kind == IMAGE_SET else NOT_EXPERIMENTAL}")
        elif rule.files and kind.super_kind == "Value":
            found.append(
                f"{at}: the socket holds a value ({kind.kind}), so it needs `value` or `value_from`, not `files`."
            )
        elif rule.dicom is not None and kind.super_kind != "Image" and kind.kind != ZIP:
            found.append(
                f"{at}: `dicom` goes only with an image socket or a ZIP file, and this one holds {kind.kind}."
            )
        elif odd := series_rules.never_taken(rule, drop.procedure):
            found.append(f"{at}: {odd}")
        elif rule.image_of and kind.super_kind != "Image":
            found.append(f"{at}: `image_of` goes only with an image socket, and this one holds {kind.kind}.")
        elif not (rule.files or rule.dicom is not None or rule.image_of or _takes_values(kind)):
            found.append(
                f"{at}: the socket holds a file ({kind.kind}), so it needs `files` or `dicom`, not a value."
            )
    return found


def _takes_values(kind: SocketKind) -> bool:
    return kind.super_kind == "Value" or (kind.super_kind == "File" and kind.kind not in NO_JSON)


def _files(listing: Listing, drop: Drop) -> dict[str, Entry]:
    kept = (one for one in data(listing, drop.ignore).entries if one.kind is not EntryKind.FOLDER)
    return {one.path: one for one in kept if not is_ready_mark(one.path, drop)}


def _claim(folder: Folder) -> None:
    """Who takes which file; an image's other files go with its head, and what is left out with none."""
    takers = series_rules.takers(folder.dicom, folder.drop.sockets, folder.kinds)
    out = {path for one in folder.dicom.left_out for path in one.paths}
    for path, entry in folder.files.items():
        if entry.kind is not EntryKind.FILE or path in out:
            continue
        by_header = takers.get(path, ())
        taken = [rule for rule in folder.drop.sockets if rule.socket in by_header or _takes(rule, path)]
        by_table = [
            _label(table) for table in folder.drop.tables if table.csv and matches(path, (table.csv,))
        ]
        first = [rule for rule in taken if not rule.fallback] or (taken if not by_table else [])
        folder.claims[path] = [*by_table, *(rule.socket for rule in first)]
    _claim_others(folder)
    _expect_one_rule(folder)


def _claim_others(folder: Folder) -> None:
    fallbacks = {rule.socket for rule in folder.drop.sockets if rule.fallback}
    for head in [one for one in folder.files if compound.is_head(one) and folder.claims[one]]:
        for path in compound.others(head, folder.files, folder.contents):
            if path in folder.files:
                others = [name for name in folder.claims[path] if name not in fallbacks]
                folder.claims[path] = list(dict.fromkeys([*others, *folder.claims[head]]))


def _label(table: LabTable) -> str:
    """How a table stands among the sockets that take a file; no slug has a space."""
    return f"table {table.name}"


def _expect_one_rule(folder: Folder) -> None:
    """Rules that only read values may share a file; one problem for each set of rules that clash."""
    readers = {rule.socket for rule in folder.drop.sockets if rule.value_from}
    readers |= {_label(table) for table in folder.drop.tables}
    clashes: dict[tuple[str, ...], list[str]] = {}
    for path, names in folder.claims.items():
        if len(names) > 1 and not set(names) <= readers:
            clashes.setdefault(tuple(names), []).append(path)
    for sockets, paths in clashes.items():
        rules = " and ".join(f'"{socket}"' for socket in sockets)
        named = several(series_rules.named(folder.dicom, paths))
        text = f"The rules of {rules} all take {named}. Ask the data manager to make one of them narrower."
        folder.wrong("two-rules", text)


def _takes(rule: SocketRule, path: str) -> bool:
    return bool(rule.globs) and matches(path, rule.globs)


def _socket(folder: Folder, rule: SocketRule) -> PlannedSocket | None:
    claimed = [path for path, names in folder.claims.items() if rule.socket in names]
    if rule.dicom is not None or (rule.files and _takes_series(folder, rule, claimed)):
        return _series_socket(folder, rule, claimed)
    if problem := series_rules.refused(folder.dicom, rule, claimed):
        if rule.value_from or (folder.kinds and folder.kinds[rule.socket].super_kind != "Image"):
            folder.problems.append(problem)
            return None
        claimed = [path for path in claimed if path not in folder.dicom.headers]
    if rule.files:
        return _file_socket(folder, rule, claimed)
    if rule.value_from is None:
        return _value_socket(folder, rule, "the configuration", lambda kind: plain(rule.value, kind))
    if isinstance(rule.value_from, FolderValue):
        return _folder_value(folder, rule, rule.value_from)
    if isinstance(rule.value_from, TableValue):
        return _table_value(folder, rule, rule.value_from)
    return _read_value(folder, rule, rule.value_from, claimed)


def _images_again(folder: Folder, sockets: list[PlannedSocket]) -> list[PlannedSocket]:
    """Sockets that hold another's image, too; where that has none, it is said there whether it should."""
    there = {one.socket for one in sockets}
    rules = [rule for rule in folder.drop.sockets if rule.image_of]
    folder.relies_on += [
        rule.socket for rule in rules if rule.image_of in folder.relies_on and rule.socket in folder.there
    ]
    return [
        PlannedSocket(rule.socket, "Image", f"the image of {rule.image_of}", image_of=rule.image_of)
        for rule in rules
        if rule.image_of in there
    ]


def _takes_series(folder: Folder, rule: SocketRule, claimed: list[str]) -> bool:
    images = {path for one in folder.dicom.series for path in one.paths}
    return not images.isdisjoint(claimed) and (
        folder.kinds is None or folder.kinds[rule.socket].super_kind == "Image"
    )


def _series_socket(folder: Folder, rule: SocketRule, claimed: list[str]) -> PlannedSocket | None:
    kind = folder.kinds[rule.socket] if folder.kinds else None
    planned, problems = series_rules.series_socket(
        folder.dicom, folder.drop, rule, claimed, files=folder.files, kind=kind
    )
    if rule.socket in folder.there and [one.word for one in problems] == ["missing-series"]:
        folder.relies_on.append(rule.socket)
        return None
    folder.problems += problems
    return planned


def _file_socket(folder: Folder, rule: SocketRule, claimed: list[str]) -> PlannedSocket | None:
    heads = [path for path in claimed if compound.is_head(path)]
    if len(heads) == 1 and set(claimed) <= {
        heads[0],
        *compound.others(heads[0], folder.files, folder.contents),
    }:
        return _compound_socket(folder, rule, heads[0])
    if len(claimed) > 1:
        folder.wrong(
            "two-files",
            f'The socket "{rule.socket}" takes one file, but {several(claimed)} fit its rule '
            f"({', '.join(rule.as_written)}). Remove the one that does not belong, or narrow the rule.",
        )
        return None
    if not claimed:
        _missing(folder, rule)
        return None
    super_kind = _super_kind(folder, rule, claimed[0])
    if super_kind == "Image" and not folder.files[claimed[0]].size:
        folder.lacking("empty-file", f"{shown(claimed[0])} is empty (0 bytes). Copy it again.")
        return None
    ending = f".{known}" if (known := extension(claimed[0])) else ""
    file = planned(folder.files[claimed[0]], upload_name(rule.socket, ending))
    return PlannedSocket(rule.socket, super_kind, shown(claimed[0]), (file,))


def _compound_socket(folder: Folder, rule: SocketRule, head: str) -> PlannedSocket | None:
    made = compound.socket(rule.socket, head, folder.files, folder.contents)
    if isinstance(made, Problem):
        folder.problems.append(made)
        return None
    pictures = [one for one in compound.unsent(head, folder.files, folder.contents) if one in folder.files]
    if pictures:
        folder.kept_here += pictures
        text = f"{several(pictures)}: it shows the whole slide with its label, and is not sent."
        folder.problems.append(Problem("label", text, Weight.NOTE))
    return made


def _folder_value(folder: Folder, rule: SocketRule, source: FolderValue) -> PlannedSocket | None:
    found = re.search(source.folder, composed(folder.name))
    if found is None or found["value"] is None:
        if rule.required:
            text = f'The folder\'s name "{shown(folder.name)}" does not fit the pattern of the socket '
            folder.wrong("folder-value", f'{text}"{rule.socket}" ({source.folder}). Rename the folder.')
        return None
    text = found["value"]
    return _value_socket(folder, rule, "the folder's name", lambda kind: from_text(text, kind))


def _table_value(folder: Folder, rule: SocketRule, source: TableValue) -> PlannedSocket | None:
    """A lacking row or value is said once, however many sockets want it; an optional socket goes without."""
    found = tables.cell(folder.tables, folder.groups, source.table, source.column)
    if not isinstance(found, Problem):
        return _value_socket(folder, rule, found.source, lambda kind: from_cell(found, kind))
    lacking = found.weight is Weight.LACKING
    if lacking and rule.required and rule.socket in folder.there:
        folder.relies_on.append(rule.socket)
    elif (rule.required or not lacking) and found not in folder.problems:
        folder.problems.append(found)
    return None


def _read_value(
    folder: Folder, rule: SocketRule, source: JsonValue | TextValue, claimed: list[str]
) -> PlannedSocket | None:
    if len(claimed) > 1:
        text = f'The socket "{rule.socket}" reads one file, but {several(claimed)} fit its rule. Remove one.'
        folder.wrong("two-files", text)
        return None
    if not claimed:
        _missing(folder, rule)
        return None
    content = folder.contents.get(claimed[0], b"")
    if len(content) > MAX_READ:
        folder.wrong("value-too-large", f"{shown(claimed[0])} is larger than a value may be (1 MiB).")
        return None
    if isinstance(source, JsonValue):
        said = f"{shown(claimed[0])}{', ' + source.pointer if source.pointer else ''}"
        return _value_socket(folder, rule, said, lambda kind: from_json(content, source.pointer, kind))
    return _value_socket(folder, rule, shown(claimed[0]), lambda kind: from_text(_utf8(content), kind))


def _utf8(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ValueProblemError("is not UTF-8 text; save it again as UTF-8") from None


def _value_socket(folder: Folder, rule: SocketRule, source: str, read: Any) -> PlannedSocket | None:
    kind = folder.kinds[rule.socket].kind if folder.kinds else None
    try:
        value: Json = read(kind)
    except ValueProblemError as problem:
        folder.wrong("bad-value", f'The socket "{rule.socket}": {source} {problem}.')
        return None
    if folder.kinds and folder.kinds[rule.socket].super_kind == "File":
        return PlannedSocket(rule.socket, "File", source, (as_file(rule.socket, value),), value)
    return PlannedSocket(rule.socket, "Value", source, value=value)


def _missing(folder: Folder, rule: SocketRule) -> None:
    unclaimed = [path for path, names in folder.claims.items() if not names]
    near = near_misses(rule.globs, unclaimed)
    written = " or ".join(rule.as_written)
    hint = f" {near}" if near else ""
    if rule.required and rule.socket in folder.there:
        folder.relies_on.append(rule.socket)
    elif rule.required:
        text = f'No file for the socket "{rule.socket}" (it takes {written}).{hint}'
        folder.lacking("missing-file", text)
    elif near:
        text = f'Nothing fits the optional socket "{rule.socket}" ({written}).{hint}'
        folder.problems.append(Problem("near-miss", text, Weight.NOTE))


def _unclaimed(folder: Folder, listing: Listing, *, deep: bool) -> tuple[str, ...]:
    """`deep` tells that files may lie a level too high."""
    odd = [one for one in folder.files.values() if one.kind is not EntryKind.FILE]
    if odd:
        named = several([f"{one.path} ({one.kind})" for one in odd])
        text = f"{named}: only plain files can be sent. Replace it by the file itself, or remove it."
        folder.wrong("not-a-file", text)
    claimed = [path for path, names in folder.claims.items() if names]
    folder.problems += series_rules.folder_problems(folder.dicom, folder.drop, claimed)
    passed_by = {*claimed, *folder.dicom.headers}
    rest = [path for path, entry in folder.files.items() if path not in passed_by and entry not in odd]
    if rest and folder.drop.unmatched == "fail":
        all_deep = all("/" in one.path for one in listing.entries if one.kind is EntryKind.FILE)
        _say_unmatched(folder, rest, deep=deep and all_deep)
    return (*rest, *series_rules.left_out(folder.dicom, claimed))


def _say_unmatched(folder: Folder, rest: list[str], *, deep: bool) -> None:
    """An empty file beside DICOM is probably a slice that is still to be filled."""
    dicom = folder.dicom.headers
    if empty := [path for path in rest if dicom and not folder.files[path].size]:
        folder.lacking(
            "empty-file", f"Empty (0 bytes), and no rule takes it: {several(empty)}. Copy it again."
        )
    if full := [path for path in rest if path not in empty]:
        packed = any(path.lower().endswith(ARCHIVES) for path in full)
        hint = " The folder holds only folders: was it copied one level too high?" if deep else ""
        hint += " Files in an archive are not seen: unpack it into the folder." if packed else ""
        text = (
            f"No rule takes {several(full)}.{hint} Remove what does not belong, or ask the data manager to add a "
            "rule, or to pass such files over (ignore)."
        )
        folder.wrong("unmatched-file", text)


def _super_kind(folder: Folder, rule: SocketRule, path: str) -> Any:
    if folder.kinds:
        return folder.kinds[rule.socket].super_kind
    return "Image" if extension(path) in IMAGE_EXTENSIONS else "File"
