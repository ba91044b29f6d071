"""A file as it is sent: under a neutral name, since the names of uploads become those that readers see. Pure."""

import json

from casedrop.model import Entry, Json, PlannedFile, SourceFile

NAME_LIMIT = 128
"""Characters in an upload's file name (seen on a real server, recording 03)."""

IMAGE_EXTENSIONS = (
    "nii.gz", "mha", "mhd", "raw", "zraw", "nii", "nrrd", "fda", "fds", "png", "jpg", "jpeg", "tif", "tiff",
    "svs", "vms", "vmu", "ndpi", "scn", "mrxs", "bif", "dcm",
)  # fmt: skip
FILE_EXTENSIONS = ("csv", "zip", "pdf", "sqreg", "obj", "mp4", "nwk", "newick", "biom", "json", "txt")


def extension(path: str) -> str:
    """Only a known one: anything else behind the last dot may be a piece of a name."""
    lower = path.lower()
    return next((one for one in (*IMAGE_EXTENSIONS, *FILE_EXTENSIONS) if lower.endswith(f".{one}")), "")


def upload_name(stem: str, ending: str) -> str:
    """`stem`, cut where it is too long, and `ending`, which begins with what parts the two."""
    return stem[: NAME_LIMIT - len(ending)] + ending


def planned(entry: Entry, name: str, content: str | None = None) -> PlannedFile:
    """A file of the folder, which goes up as `name`, with `content` in place of its own."""
    return PlannedFile(entry.path, name, entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode, content)


def as_file(socket: str, value: Json) -> PlannedFile:
    """A value of a socket that the platform keeps outside its database (CONTRACT.md 2)."""
    content, name = json.dumps(value), upload_name(socket, ".json")
    return PlannedFile(f"{name}/", name, len(content), 0, 0, 0, content)


def source(entry: Entry) -> SourceFile:
    """A file of the folder that goes up within another."""
    return SourceFile(entry.path, entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode)
