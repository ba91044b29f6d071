"""What the modules of Casedrop tell each other: frozen records, nothing that acts."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from casedrop.dicom_model import DicomRule, Pick, SeriesLine
from casedrop.stages import Stage

Json = Any
"""What ``json.loads`` gives."""

Metadata = Literal["refuse", "strip", "send"]
"""What becomes of an image file that may name somebody: refused, sent without it, sent as it is."""

IDENTIFYING = (
    "PatientName",
    "PatientBirthDate",
    "AccessionNumber",
    "PatientID",
    "OtherPatientIDs",
    "StudyInstanceUID",
    "SeriesInstanceUID",
)
"""The DICOM attributes whose texts are looked for in what is sent, unless a drop names others."""

Existing = Literal["refuse", "add", "replace"]
"""What becomes of a folder whose display set is finished already: nothing, what it lacks, what differs."""


@dataclass(frozen=True, slots=True)
class JsonValue:
    """A value read from a JSON file: `pointer` is an RFC 6901 pointer, "" for the whole document."""

    json: str
    pointer: str = ""


@dataclass(frozen=True, slots=True)
class TextValue:
    """A value read from a UTF-8 text file, stripped of white space around it."""

    text: str


@dataclass(frozen=True, slots=True)
class FolderValue:
    """A value taken from the case folder's name by the group ``value`` of a regular expression."""

    folder: str


@dataclass(frozen=True, slots=True)
class TableValue:
    """A value taken from a column of the table of that name, out of the folder's row."""

    table: str
    column: str


@dataclass(frozen=True, slots=True)
class SocketRule:
    """One ``[[drops.sockets]]``: a socket and its one source.

    That is `files`, `dicom`, `value`, `value_from` or `image_of`. `has_value` tells a `value` of null from no
    value. `files`, and the file names of `value_from`, are gitignore-like globs relative to the case folder,
    case-insensitive. `dicom` is what a DICOM series must be, () any series, None where the source is another;
    `allow` names guards that are let pass (dicom_model.SERIES_GUARDS, ALLOW).
    """

    socket: str
    files: tuple[str, ...] = ()
    fallback: bool = False
    required: bool = True
    value: Json = None
    has_value: bool = False
    value_from: JsonValue | TextValue | FolderValue | TableValue | None = None
    dicom: DicomRule | None = None
    pick: Pick = ""
    allow: tuple[str, ...] = ()
    experimental: bool = False
    same_grid_as: str = ""
    """The socket of an image on whose grid this one's voxels lie, "" for any."""
    image_of: str = ""
    """The socket whose very image this one holds, too."""
    written: tuple[str, ...] = ()
    """The globs as people wrote them, where those here are for one part of a split folder."""

    @property
    def globs(self) -> tuple[str, ...]:
        """Those of the files that it takes, or reads its value from."""
        match self.value_from:
            case JsonValue(json=glob) | TextValue(text=glob):
                return (glob,)
        return self.files

    @property
    def as_written(self) -> tuple[str, ...]:
        """The globs as people know them."""
        return self.written or self.globs


Mode = Literal["send", "rehearse"]
"""Whether a drop's folders are sent at all; in a rehearsal they stay where they are."""

PageMode = Literal["plain", "hidden", "off"]
"""Whether a root has a status page, and whether that shows the names of folders and files."""

Release = Literal["auto", "ask"]
"""Whether a settled folder is taken by itself, or once a person has said so."""

ProcedureName = Literal["grand-challenge", "dicom-standard", "already-done", "send-identifiable"]

DEIDENTIFYING = ("grand-challenge", "dicom-standard")
"""Those that take anything out; the others send DICOM as it is."""

ALLOW = ("burned-in", "changed-size", "changed-values", "cut-off", "names-in-text")
"""What can be allowed: names that may be burned into the pixels, losses that change the image, pixels that end
too early, and words of the patient's name or numbers in what the procedure keeps."""

ANNEX_E_OPTIONS = (
    "retain-uids",
    "retain-device-identity",
    "retain-institution-identity",
    "retain-patient-characteristics",
    "retain-full-dates",
)
"""The options of the Basic Application Level Confidentiality Profile (PS3.15 E.3) that can be chosen."""


@dataclass(frozen=True, slots=True)
class Procedure:
    """How DICOM is de-identified before it is sent.

    `allow` names what is refused otherwise (ALLOW). `patterns` are regular expressions one of which an
    identifying attribute must match whole under "already-done" (an empty one is always well). `options` are
    those of PS3.15 Annex E for "dicom-standard" (ANNEX_E_OPTIONS).
    """

    name: ProcedureName = "grand-challenge"
    allow: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


Decimal = Literal[".", ","]
"""What stands before the fraction of a number that is text."""


@dataclass(frozen=True, slots=True)
class LabTable:
    """One ``[[drops.tables]]``: CSV or XLSX at `file`, a whole path; or CSV in the case folder, by the glob `csv`.

    `keys` pairs named groups of the drop's expression ("folder" is the folder's whole name) with the columns
    that hold the same; without any the table has one row. `sheet` is the workbook's first where it is "".
    """

    name: str
    file: str = ""
    csv: str = ""
    sheet: str = ""
    keys: tuple[tuple[str, str], ...] = ()
    decimal: Decimal = "."
    written: str = ""
    """The glob as people wrote it, where `csv` is for one part of a split folder."""


@dataclass(frozen=True, slots=True)
class CodeTable:
    """A table and its columns of folder names and of codes."""

    file: str
    folder: str
    code: str


@dataclass(frozen=True, slots=True)
class Split:
    """How a case folder becomes several display sets: by its folders, or by what `pattern` captures of each path.

    Exactly one is given: `folders` is a glob of folders without the last slash, `pattern` a regular expression
    that the whole path must match, with named groups.
    """

    folders: str = ""
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """One configured root with its rules. `root` holds ``drop/``, ``done/`` and ``failed/``.

    Either `reader_study` or `archive` is the slug of where its folders go, the other is "". What is said of reader
    studies and display sets goes for archives and their items, too. DICOM series that `leave_out` fits are passed
    over; `allow` names guards that are let pass (those of a rule's, and dicom_model.FOLDER_GUARDS).
    """

    name: str
    root: str
    reader_study: str
    sockets: tuple[SocketRule, ...]
    folder: str | None = None
    title: str = "{folder}"
    unmatched: Literal["fail", "ignore"] = "fail"
    existing_display_set: Existing = "refuse"
    ignore: tuple[str, ...] = ()
    ready: str = ""
    identifier_check: tuple[str, ...] = IDENTIFYING
    codes: CodeTable | None = None
    tables: tuple[LabTable, ...] = ()
    metadata: Metadata = "refuse"
    procedure: Procedure = Procedure()
    leave_out: tuple[DicomRule, ...] = ()
    allow: tuple[str, ...] = ()
    split: Split | None = None
    mode: Mode = "send"
    release: Release = "auto"
    order: str = ""
    archive: str = ""
    contact: str = ""
    """Whom people at the share ask, in one line."""
    page: PageMode = "plain"

    @property
    def goes_to(self) -> str:
        """In words; no two drops that go to different places say the same."""
        return f"archive {self.archive}" if self.archive else f"reader study {self.reader_study}"

    @property
    def kind(self) -> str:
        return "archive item" if self.archive else "display set"


@dataclass(frozen=True, slots=True)
class SocketKind:
    """What the platform says of a socket (CONTRACT.md 2): decide by `super_kind`, never by `kind`.

    But for DICOM, which a "ZIP file" and a "DICOM Image Set" take in ways of their own.
    """

    slug: str
    kind: str
    super_kind: Literal["Image", "File", "Value"]
    segments: tuple[int, ...] = ()
    """The voxel values that a segmentation may hold beside 0 (overlay_segments), () for any."""


class EntryKind(StrEnum):
    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symbolic link"
    FIFO = "named pipe"
    SOCKET = "socket"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name below a case folder, as ``lstat`` saw it.

    `path` is relative to the case folder with "/" between its parts; bytes that are not UTF-8 stand as
    surrogates (``os.fsdecode``). `inode` is 0 where the file system gives no lasting ones.
    """

    path: str
    kind: EntryKind
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """A case folder as one walk saw it: entries sorted by path, and the folder's own device and inode."""

    folder: str
    entries: tuple[Entry, ...]
    device: int = 0
    inode: int = 0


class Weight(StrEnum):
    """How much a problem matters."""

    LACKING = "lacking"
    """May still come: the folder waits for it up to ``incomplete_seconds``."""
    WRONG = "wrong"
    """Will not mend itself: said as soon as the folder has settled."""
    NOTE = "note"
    """Worth saying, stops nothing."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to say about a folder, in the researcher's words.

    `word` is its name in the catalogue (``missing-file``, ``two-files`` …), `text` whole sentences.
    """

    word: str
    text: str
    weight: Weight = Weight.WRONG


@dataclass(frozen=True, slots=True)
class Geometry:
    """Size in voxels (width, height, depth) and voxel size in mm (same order), None where unknown."""

    size: tuple[int, int, int | None]
    voxel_mm: tuple[float | None, float | None, float | None] = (None, None, None)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the case folder as it settled; `sha256` (hex) of its own bytes, "" until it is read."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file of a plan: where it is, what it looked like when it settled, and how it is sent.

    `content` is what is sent in place of the file's bytes (a rewritten ``.mhd`` header). `packed` are the
    files that go into one stored zip, in this order, which is what is sent: DICOM de-identified by
    `procedure`, or, where it is `unchanged`, those of a slide as they are. `path` is then a name of our own
    for it, and `size` is that of the zip, 0 until it is made. `method` says how DICOM was de-identified, with
    versions, and `taken` names every attribute that this took away or replaced.
    `sha256` and `md5s` (hex, one per part of `part_size` bytes) are of what is sent; "" and () until
    prepared.
    """

    path: str
    upload_name: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    content: str | None = None
    sha256: str = ""
    part_size: int = 0
    md5s: tuple[str, ...] = ()
    geometry: Geometry | None = None
    packed: tuple[SourceFile, ...] = ()
    procedure: Procedure | None = None
    unchanged: bool = False
    bare: bool = False
    """Sent as the DICOM file itself, one of several of its socket, and not in a zip."""
    method: str = ""
    taken: tuple[str, ...] = ()
    stripped: tuple[str, ...] = ()
    """The fields without which a copy is sent (metadata.find tells them anew from the file's bytes)."""
    stripped_size: int = 0
    """Bytes of that copy, 0 until prepared."""
    source_sha256: str = ""
    """Of the bytes that copy was made from, "" until prepared."""

    @property
    def is_made(self) -> bool:
        """Whether no file of the folder stands behind it: a value that goes as a file. No file's path ends so."""
        return self.content is not None and self.path.endswith("/")

    @property
    def as_they_are(self) -> tuple[str, ...]:
        """Paths of the folder's files whose bytes are sent as they are, or but for `stripped`."""
        if not self.packed:
            return (self.path,)
        return tuple(one.path for one in self.packed) if self.unchanged else ()

    @property
    def is_series(self) -> bool:
        """Whether it is DICOM, de-identified on the way."""
        return bool(self.packed) and not self.unchanged

    @property
    def own_sha256(self) -> str:
        """Of the file in the folder, "" where it was not summed: never that of anything else."""
        if self.content is not None or self.packed:
            return ""
        return self.source_sha256 if self.stripped else self.sha256

    @property
    def sent_size(self) -> int:
        """Bytes that go to the platform; a rewritten header is Latin-1."""
        if self.stripped_size:
            return self.stripped_size
        return self.size if self.content is None else len(self.content)


@dataclass(frozen=True, slots=True)
class PlannedSocket:
    """What one socket will hold: `files` for super_kind Image and File, `value` for Value.

    `source` says in words where it comes from ("ct.mha", "score.json, /score"), for receipts and plans.
    `image_name` is that of a DICOM image set, whose files go one by one and of which no API tells what became
    (CONTRACT.md 5); "" of any other socket.
    """

    socket: str
    super_kind: Literal["Image", "File", "Value"]
    source: str
    files: tuple[PlannedFile, ...] = ()
    value: Json = None
    image_name: str = ""
    segments: tuple[int, ...] = ()
    """As in SocketKind."""
    image_of: str = ""
    """The socket whose image it holds, too; it has no files then."""
    copied: tuple[str, ...] = ()
    """The sha256 of that socket's files."""

    @property
    def sent_size(self) -> int:
        """Bytes of its files, once prepared."""
        return sum(file.sent_size for file in self.files)

    @property
    def sums(self) -> tuple[str, ...]:
        """The sha256 of the files its contents come from."""
        return self.copied or tuple(file.sha256 for file in self.files)

    @property
    def fingerprint(self) -> str:
        """Equal for equal contents: tells whether a socket must be assigned again."""
        return json.dumps([self.value, self.sums], sort_keys=True)


def with_copied(sockets: Iterable[PlannedSocket]) -> tuple[PlannedSocket, ...]:
    """The sockets, each knowing the sums of the files behind another's image that it holds."""
    sums = {socket.socket: socket.sums for socket in sockets}
    return tuple(
        replace(socket, copied=sums.get(socket.image_of, ())) if socket.image_of else socket
        for socket in sockets
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What a case folder will become: one display set. `left_out` names files and series that are not sent.

    `signature` is settle.signature of the listing it was made from, `entries` what that listing held
    besides junk. `existing` is what may be changed where the display set is finished already; `relies_on`
    are required sockets for which the folder has nothing because that display set holds them. `ignore` are
    the drop's patterns as they were then. `order` is the display set's place in its study, 0 where the platform
    gives it one. The plan of a folder that is split has `parts`, each of which becomes a display set, and no
    title; `part` is the name of one of them, `groups` are the placeholders it fills. `rules` is the fingerprint
    (status.rules) of those it was made by, "" in plans of versions that did not keep it.
    """

    folder: str
    title: str
    sockets: tuple[PlannedSocket, ...]
    signature: str = ""
    left_out: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    existing: Existing = "refuse"
    relies_on: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    part: str = ""
    groups: tuple[tuple[str, str], ...] = ()
    parts: "tuple[Plan, ...]" = ()
    order: int = 0
    rules: str = ""

    @property
    def contents(self) -> dict[str, str]:
        """Each socket's fingerprint: equal for two folders that would become the same display set."""
        return {socket.socket: socket.fingerprint for socket in self.sockets}

    @property
    def sent_size(self) -> int:
        """Bytes of its files, once prepared; those of parts are in their own plans."""
        return sum(socket.sent_size for socket in self.sockets)

    @property
    def files(self) -> str:
        """Equal for plans that send the same files, "" while they are not read or where none is an image."""
        sent = {
            socket.socket: [file.sha256 for file in socket.files] for socket in self.sockets if socket.files
        }
        known = all(sha256 for found in sent.values() for sha256 in found)
        has_image = any(socket.super_kind == "Image" for socket in self.sockets)
        return json.dumps(sent, sort_keys=True) if known and has_image else ""


@dataclass(frozen=True, slots=True)
class UploadRef:
    """An upload of ours: `sha256` tells which bytes it carries, `part_size` how they were cut.

    `expired` counts uploads of these bytes that grew too old before they were whole, `hours` is how long
    the last of them would have taken.
    """

    pk: str
    sha256: str
    part_size: int
    expired: int = 0
    hours: float = 0.0


@dataclass(frozen=True, slots=True)
class Held:
    """A value the platform holds, as confirmed: the socket's fingerprint and the value's pk.

    The pk is 0 of what was accepted and can never be confirmed (a DICOM image set).
    """

    fingerprint: str
    pk: int


@dataclass(frozen=True, slots=True)
class Failure:
    """When a case failed that was taken again since (seconds since 1970), and the words of its reasons.

    What it came to then: the display set's pk ("" for none) and the bytes in it; and what people called the
    folder, and what it was filed as. Versions that did not keep these left `folder` "".
    """

    since: float
    reasons: tuple[str, ...]
    set_pk: str = ""
    bytes: int = 0
    folder: str = ""
    filed_as: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """Our record of a case folder: everything a restart must know. Times are seconds since 1970.

    `since` is when it was taken, then when it got its name for done/ or failed/ (which a receipt or reason tells),
    then when it came to rest.

    `folder` is its name in drop/, `first_name` the one it had there first, "" where that is the same.
    `root` is the id in the root's identity file; `platform` and `study` are addresses, so that neither
    a drop's name nor a changed configuration moves a case; `archive` tells that `study` is an archive.
    `uploads` goes by file path, `sessions`, `held` and `replaced` (pk of the value before ours) by socket.
    `patch` is the journalled body of the request whose answer is not known yet, "" when there is none; `asked`
    are the sockets of the last one.
    """

    id: int
    root: str
    folder: str
    platform: str
    study: str
    study_pk: str
    study_slug: str
    stage: Stage
    since: float
    device: int = 0
    inode: int = 0
    plan: Plan | None = None
    tries: int = 0
    uploads: dict[str, UploadRef] = field(default_factory=dict)
    sessions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    replaced: dict[str, int] = field(default_factory=dict)
    one_time_title: str = ""
    set_pk: str = ""
    patch: str = ""
    asked: tuple[str, ...] = ()
    committed: bool = False
    committed_at: float = 0.0
    """When the platform's time to take everything in began: on the boot clock of `boot`."""
    boot: str = ""
    unclear: bool = False
    """The commit was found done after a lost answer: tasks behind it may be lost too."""
    problems: tuple[Problem, ...] = ()
    target: Literal["", "done", "failed"] = ""
    filed_as: str = ""
    first_name: str = ""
    judged: str = ""
    """settle.signature of a folder that was refused before anything was sent of it."""
    late_looks: int = 0

    twin_of: int = 0
    """The case that is done under this title: the same contents are filed as done, others may amend its set."""
    amends: bool = False
    """It changes that finished display set: one case at a time does."""
    added: tuple[str, ...] = ()
    """Sockets of that display set that this case has asked for at any time."""
    twins_allowed: bool = False
    """A person has said that another folder rightly holds the same files."""
    deleted: bool = False
    """Its display set is gone, and a person let another case have the title."""
    head: int = 0
    """Of one part of a split folder: the case of the whole folder, which alone moves it."""
    round: int = 0
    """How often a split folder was taken; a part bears the number of the time it was begun at."""
    archive: bool = False
    failed_before: tuple[Failure, ...] = ()
    """What it failed with before it was taken again, oldest first."""

    @property
    def settled(self) -> Plan:
        """The plan of a case that has one."""
        if self.plan is None:
            raise ValueError("a case without a plan has nothing to send")
        return self.plan

    @property
    def name(self) -> str:
        """What people called the folder, whatever we put behind it where that name was taken."""
        return self.first_name or self.folder

    @property
    def part(self) -> str:
        """Which part of its folder it is, "" of a whole one."""
        return self.plan.part if self.plan else ""

    @property
    def called(self) -> str:
        """Its folder's name in drop/, with its part."""
        return f"{self.folder}/{self.part}" if self.part else self.folder

    @property
    def known_as(self) -> str:
        """What people called its folder, with its part."""
        return f"{self.name}/{self.part}" if self.part else self.name

    @property
    def causes(self) -> tuple[Problem, ...]:
        """The problems without what is only worth saying."""
        return tuple(problem for problem in self.problems if problem.weight is not Weight.NOTE)

    @property
    def reasons(self) -> list[str]:
        """The words of the causes, each once: what `casedrop retry --reason` goes by."""
        return sorted({problem.word for problem in self.causes})

    @property
    def sent_size(self) -> int:
        """Bytes of the files that it brought to its display set; the parts of a split folder have their own."""
        if self.plan is None or self.plan.parts or not (self.stage is Stage.DONE or self.came_to):
            return 0
        return sum(one.sent_size for one in self.plan.sockets if not self.twin_of or one.socket in self.added)

    @property
    def address(self) -> str:
        """The display set's web page; of an archive's item, which has none of its own, the API's."""
        if self.archive:
            return f"{self.platform}archives/items/{self.set_pk}/"
        return f"{self.study}display-sets/{self.set_pk}/"

    @property
    def reached(self) -> str:
        """The same, "" while nothing of the case can be in a display set."""
        return self.address if self.set_pk and (self.committed or self.patch) else ""

    @property
    def left_as_it_was(self) -> bool:
        """Whether it is to change a finished display set, and has asked for nothing yet."""
        return self.amends and not self.asked

    @property
    def came_to(self) -> str:
        """The address of what came of it, or is to be changed by it; "" while, or since, nothing did."""
        in_vain = self.stage is Stage.FAILED and self.left_as_it_was
        return self.address if self.committed and not in_vain else ""

    @property
    def kind(self) -> str:
        return "archive item" if self.archive else "display set"

    @property
    def home(self) -> str:
        """What its display set is one of."""
        return "archive" if self.archive else "reader study"

    @property
    def item(self) -> str:
        """Its display set, and where people find it."""
        return f"{self.kind} {self.address}" + (f" (in {self.study})" if self.archive else "")

    @property
    def uploads_uncounted(self) -> dict[str, UploadRef]:
        """The uploads, as if none had ever grown too old."""
        return {path: replace(ref, expired=0) for path, ref in self.uploads.items()}

    @property
    def holds_title(self) -> bool:
        """Whether its title may stand, or come to stand, on the platform, by this case."""
        if self.twin_of or self.deleted or self.plan is None or self.plan.parts:
            return False
        given_up = self.stage is Stage.FILING and self.target == "failed"
        at_rest = self.stage in (Stage.FAILED, Stage.SETTLING)
        return self.committed or bool(self.patch) or not (given_up or at_rest)


@dataclass(frozen=True, slots=True)
class Grouping:
    """What the rules make of a folder: a plan when nothing is lacking or wrong, and always all problems.

    `claims` maps each file's path to the sockets whose rules matched it, for ``casedrop plan``; so does
    `series`, for the files that are DICOM images; `no_images` are other DICOM. `draft` is the plan as far as it
    goes, problems or not. `parts` are the groupings of a split folder's parts by name.
    """

    plan: Plan | None
    problems: tuple[Problem, ...] = ()
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    draft: Plan | None = None
    series: tuple[SeriesLine, ...] = ()
    no_images: tuple[str, ...] = ()
    parts: Mapping[str, "Grouping"] = field(default_factory=dict)

    @property
    def in_series(self) -> frozenset[str]:
        """The paths of all DICOM images."""
        return frozenset(path for one in self.series for path in one.paths)


class FindingState(StrEnum):
    """What the scanner says of one name under ``drop/``."""

    LEFT_ALONE = "left alone"
    SETTLING = "settling"
    LACKING = "lacking"
    WRONG = "wrong"
    READY = "ready"
    STUCK = "waiting for a person"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the scanner says of one name under ``drop/``; `until` and `since` are boot-clock seconds."""

    folder: str
    state: FindingState
    why: str
    since: float
    until: float | None = None
    grouping: Grouping | None = None
    signature: str = ""
    device: int = 0
    inode: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One error-free scan of a root's ``drop/``; `started` is boot-clock seconds."""

    started: float
    findings: tuple[Finding, ...] = ()
