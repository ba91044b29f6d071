"""Each file is read once: its checksums, and what its header says of the image."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import IO, cast

from casedrop import inside
from casedrop.errors import CaseProblem, FolderChanged
from casedrop.headers import HEAD, geometry
from casedrop.inside import Inside
from casedrop.model import Entry, EntryKind, Listing, Plan, PlannedFile, PlannedSocket, Problem, SourceFile
from casedrop.reading import Check, Witness, looks, open_below, part_size
from casedrop.strip import Once, copy_without, to_take_out, without_metadata
from casedrop.sums import CHUNK, Sums

Pack = Callable[[PlannedFile], PlannedFile]
"""Makes the one file that is sent of the many that are packed."""


def open_source(folder: str, file: PlannedFile) -> io.RawIOBase | io.BytesIO:
    """What is sent of a file of the folder. No symbolic link is followed; raises FolderChanged."""
    if file.content is not None:
        return io.BytesIO(file.content.encode("latin-1"))
    source = open_below(folder, file.path)
    return without_metadata(source) if file.stripped else source


def opener(folder: str, file: PlannedFile) -> Callable[[], io.RawIOBase | io.BytesIO]:
    """Opens what is sent of a file, once for each part; a copy that must be packed anew is made but once."""
    source = partial(open_source, folder, file)
    is_packed = file.stripped and file.content is None and file.path.lower().endswith(".gz")
    return Once(source) if is_packed else source


def prepare(folder: str, socket: PlannedSocket, check: Check, pack: Pack) -> PlannedSocket:
    """The socket with the checksums of its files.

    A file that looks as it did when it was read is not read again. Raises FolderChanged where a file is
    not what it was, CaseProblem where one may not be sent, for what is in it too.
    """

    def ready(file: PlannedFile) -> PlannedFile:
        if not file.packed or file.sha256:
            return _seen_again(folder, file, check, inside.of(socket, file, check))
        try:
            return pack(file)
        except CaseProblem as no:
            where = f'The socket "{socket.socket}", {socket.source}'
            said = [replace(one, text=f"{where}: {one.text}") for one in no.problems]
            raise CaseProblem(*said) from None

    return replace(socket, files=tuple(ready(file) for file in socket.files))


def unchanged(folder: str, plan: Plan, now: Listing, check: Check) -> Plan:
    """The plan, as long as the folder is still what it was made from.

    A file with other times is read again; the same checksum lets it pass, with its new times. Raises
    FolderChanged where a name came or went, or contents differ.
    """
    before = {entry.path: entry for entry in plan.entries}
    after = {entry.path: entry for entry in now.entries}
    if before.keys() != after.keys():
        raise FolderChanged("Files were added or removed.")
    stirred = {path for path, entry in after.items() if _differs(before[path], entry)}
    if not stirred:
        return plan
    if not stirred <= _known(plan):
        raise FolderChanged("Files were changed.")
    sockets = tuple(
        replace(socket, files=tuple(_seen_again(folder, file, check) for file in socket.files))
        for socket in plan.sockets
    )
    return replace(plan, sockets=sockets, entries=now.entries)


def _known(plan: Plan) -> set[str]:
    """The names whose contents the plan knows."""
    files = [file for socket in plan.sockets for file in socket.files if file.sha256]
    packed = {source.path for file in files for source in file.packed}
    return packed | {file.path for file in files if not file.packed}


def _differs(before: Entry, after: Entry) -> bool:
    """Junk changes a folder's times, so a folder only differs by being there or not."""
    return before != after and not before.kind == after.kind == EntryKind.FOLDER


def look_inside(folder: str, socket: PlannedSocket) -> list[Problem]:
    """What preparing the socket's files would find in them. Raises FolderChanged, OSError."""
    found: list[Problem] = []
    for file in socket.files:
        if within := inside.of(socket, file, lambda: None):
            with open_below(folder, file.path) as source:
                while within.wants and (chunk := source.read(CHUNK)):
                    within.add(chunk)
                found += within.problems(cast("IO[bytes]", source))
    return found


def _seen_again(folder: str, file: PlannedFile, check: Check, within: Inside | None = None) -> PlannedFile:
    if not file.packed:
        return _prepared(folder, file, check, within)
    return replace(file, packed=tuple(_same(folder, source, check) for source in file.packed))


def _same(folder: str, source: SourceFile, check: Check) -> SourceFile:
    """A packed file's source with its present times, if its bytes are still those that were packed."""
    settled = (source.size, source.mtime_ns, source.ctime_ns)
    check()
    with open_below(folder, source.path) as opened:
        now = looks(opened)
        if now == settled:
            return source
        whole = hashlib.sha256()
        while chunk := opened.read(CHUNK):
            check()
            whole.update(chunk)
        if looks(opened) != now:
            raise FolderChanged("A file was changed while it was being read.")
    if whole.hexdigest() != source.sha256:
        raise FolderChanged("A file has other contents than when it settled.")
    return replace(source, size=now[0], mtime_ns=now[1], ctime_ns=now[2])


def _prepared(folder: str, file: PlannedFile, check: Check, within: Inside | None) -> PlannedFile:
    settled = (file.size, file.mtime_ns, file.ctime_ns)
    if file.is_made:
        return file if file.sha256 else _summed(file, cast("io.BytesIO", open_source(folder, file)), check)
    with open_below(folder, file.path) as source:
        now = looks(source)
        if now == settled and file.sha256:
            return file
        if now != settled and (not file.sha256 or file.content is not None):
            raise FolderChanged("A file was changed after it had settled.")
        if file.content is not None:
            return _summed(file, io.BytesIO(file.content.encode("latin-1")), check)
        read = _read(file, source, check, within)
        problems = within.problems(cast("IO[bytes]", source)) if within else []
        if looks(source) != now:
            raise FolderChanged("A file was changed while it was being read.")
    if file.sha256 not in ("", read.sha256) or file.source_sha256 not in ("", read.source_sha256):
        raise FolderChanged("A file has other contents than when it settled.")
    if problems:
        raise CaseProblem(*problems)
    return replace(read, size=now[0], mtime_ns=now[1], ctime_ns=now[2])


def _read(file: PlannedFile, source: io.RawIOBase, check: Check, within: Inside | None) -> PlannedFile:
    """Sums of what is sent of the file, and of the file itself where that is another."""
    if not file.stripped:
        return _summed(file, source, check, within)
    found, witness = to_take_out(source), Witness(source, check)
    with copy_without(witness, found) as copy:
        read = _summed(file, copy, check, within)
        return replace(read, stripped_size=copy.tell(), source_sha256=witness.sha256())


def _summed(
    file: PlannedFile, source: io.RawIOBase | io.BytesIO, check: Check, within: Inside | None = None
) -> PlannedFile:
    """Read `source` to its end: checksums, and the geometry from the first bytes."""
    sums, head = Sums(part_size(file.size)), b""
    while chunk := source.read(CHUNK):
        check()
        sums.add(chunk)
        if within:
            within.add(chunk)
        head += chunk[: HEAD - len(head)]
    shape = geometry(file.upload_name, head)
    return replace(file, sha256=sums.sha256, part_size=sums.part_size, md5s=sums.md5s, geometry=shape)
