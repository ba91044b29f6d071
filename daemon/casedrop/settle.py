"""Has a folder stopped changing? Pure: what was seen and when are arguments.

Modification times, sizes and close events each fool somebody (restored times, sizes set first, missing
events), so only the whole tree's signature counts, unchanged over the quiet period and over two scans.
"""

import fnmatch
import hashlib
import re
import unicodedata
from dataclasses import dataclass, replace
from functools import lru_cache

from wcmatch import glob

from casedrop.model import Drop, Entry, EntryKind, Listing

JUNK = (
    "thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store", "._*", ".appledouble", ".spotlight-v100",
    "__macosx", ".fseventsd", ".trashes", ".trash*", "@eadir", "#recycle", "$recycle.bin", "lost+found",
    "system volume information", ".snapshot", ".directory", ".casedrop*",
)  # fmt: skip
"""Names that the systems of the people leave behind; they neither become data nor reset the clock."""

IGNORED_SETS = {
    "@dicom-cd": (
        "DICOMDIR", "autorun.*", "*.exe", "*.dll", "*.ocx", "*.msi", "*.cab", "*.jar", "*.bat", "*.cmd", "*.inf",
        "*.ico", "*.chm", "*.htm", "*.html", "*.css", "*.js", "jre/**", "viewer/**", "IHE_PDI/**", "*.app/**",
        "README.TXT", "LICENSE*",
    ),
}  # fmt: skip
"""What a drop's `ignore` may call by one name: "@dicom-cd" is what lies beside the images on a patient's disc
(IHE PDI: DICOMDIR, web pages, viewers and what starts them)."""

TEMPORARY = (
    "*.part", "*.partial", "*.filepart", "*.crdownload", "*.download", "*.tmp", "*.temp", "~$*", ".~lock*",
    ".nfs*", ".smbdelete*", ".goutputstream-*", ".fuse_hidden*", ".syncthing.*", "*.!ut", "*.opdownload",
)  # fmt: skip

RSYNC = re.compile(r"\..+\.[A-Za-z0-9]{6}")
"""What rsync writes to before the rename: a dot, the name, six letters."""

PLACEHOLDERS = re.compile(
    r"(new folder|neuer ordner|untitled folder|nouveau dossier|nieuwe map|nueva carpeta|nuova cartella|"
    r"nova pasta|ny mappe|ny mapp|uusi kansio|unbenannter ordner|dossier sans titre|ordner ohne titel)"
    r"( ?\(?\d+\)?)?",
    re.IGNORECASE,
)

GLOB = glob.GLOBSTAR | glob.IGNORECASE | glob.DOTGLOB | glob.MATCHBASE | glob.FORCEUNIX


@lru_cache(maxsize=65536)
def _is_junk_name(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in JUNK)


def matches(path: str, patterns: tuple[str, ...]) -> bool:
    """gitignore-like: no slash means any depth, a leading slash the case folder, case does not count."""
    name = composed(path)
    return any(_compiled(composed(pattern)).match(name) for pattern in patterns)


def composed(name: str) -> str:
    """The name in NFC: what comes from a Mac is decomposed, what people type into a configuration is not."""
    return unicodedata.normalize("NFC", name)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> "glob.WcMatcher[str]":
    if pattern.startswith("/"):
        return glob.compile(pattern[1:], flags=GLOB & ~glob.MATCHBASE)
    return glob.compile(pattern, flags=GLOB)


def is_junk(path: str, ignore: tuple[str, ...] = ()) -> bool:
    """Whether any part of a relative path is junk, or the drop's own `ignore` patterns name it.

    As in .gitignore, a pattern that names a folder names all that is in it; one that ends in a slash
    names folders only.
    """
    parts = path.split("/")
    return any(map(_is_junk_name, parts)) or (bool(ignore) and _is_ignored(parts, ignore))


def _is_ignored(parts: list[str], patterns: tuple[str, ...]) -> bool:
    folders = ["/".join(parts[:count]) for count in range(1, len(parts))]
    whole = tuple(pattern.rstrip("/") for pattern in patterns)
    return matches("/".join(parts), patterns) or any(matches(folder, whole) for folder in folders)


def is_temporary(path: str) -> bool:
    """Whether a copy or an editor is still at work on this file, by its name."""
    name = path.rsplit("/", 1)[-1]
    known = any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in TEMPORARY)
    return known or RSYNC.fullmatch(name) is not None


def is_placeholder(folder: str) -> bool:
    """A name a file manager gives before the person has typed one."""
    return PLACEHOLDERS.fullmatch(folder) is not None


def data(listing: Listing, ignore: tuple[str, ...]) -> Listing:
    """The listing without junk."""
    return replace(listing, entries=tuple(one for one in listing.entries if not is_junk(one.path, ignore)))


def is_ready_mark(path: str, drop: Drop) -> bool:
    """Whether a file is the drop's marker, which is no data."""
    return bool(drop.ready) and composed(path) == composed(drop.ready)


def signature(listing: Listing, ignore: tuple[str, ...] = ()) -> str:
    """Hex; equal for equal trees. Of folders only the name counts: junk changes their times."""
    return mark(data(listing, ignore))


def mark(kept: Listing) -> str:
    """The signature of a listing without junk."""
    facts = "".join(map(_facts, kept.entries))
    return hashlib.blake2b(facts.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def _facts(entry: Entry) -> str:
    """As Python writes the tuple of them: in journals stand signatures that were made so."""
    known = f"({entry.path!r}, '{entry.kind}'"
    if entry.kind is EntryKind.FOLDER:
        return f"{known})"
    return f"{known}, {entry.size}, {entry.mtime_ns}, {entry.ctime_ns}, {entry.inode})"


@dataclass(frozen=True, slots=True)
class Settling:
    """What is known of one folder: its signature, since when (seconds), and in how many scans."""

    signature: str
    since: float
    scans: int = 1


def look(before: Settling | None, now_signature: str, now: float) -> Settling:
    """One more scan. Another signature starts the clock anew."""
    if before is None or before.signature != now_signature:
        return Settling(now_signature, now)
    return replace(before, scans=before.scans + 1)


def is_quiet(settling: Settling, now: float, quiet_seconds: float) -> bool:
    """Unchanged over the quiet period and over at least two scans."""
    return settling.scans > 1 and now - settling.since >= quiet_seconds
