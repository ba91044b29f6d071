"""Images that are several files: a rule takes the head, which brings the others along. Pure.

The head of a MetaImage (.mhd) names its data; that of a Hamamatsu slide (.vms, .vmu) names its pieces; a MIRAX
slide (.mrxs) has a folder of the same name beside it, where Slidedat.ini names them. No other files become one
image on the platform but a DICOM series: several plain TIFFs, for instance, are as many images (its importer,
panimg, image_builders/tiff.py), and an import of more than one is refused (CONTRACT.md 5).
"""

from collections.abc import Iterable, Mapping

from casedrop import mhd, slides
from casedrop.model import Entry, PlannedFile, PlannedSocket, Problem, Weight
from casedrop.near import several, shown
from casedrop.planned import extension, planned, source, upload_name
from casedrop.settle import composed

MAX_READ = 1 << 20
"""Bytes of a value file or header that are read; a longer one is refused."""
MOST_FILES = 100
"""Of one import (seen on a real server, CONTRACT.md 5)."""

TEXTS = (".mhd", ".vms", ".vmu")
MIRAX = ".mrxs"
SLIDEDAT = "slidedat.ini"

Contents = Mapping[str, bytes]
Files = Mapping[str, Entry]


def is_mirax(path: str) -> bool:
    return path.lower().endswith(MIRAX)


def is_head(path: str) -> bool:
    return path.lower().endswith((*TEXTS, MIRAX))


def names_others(path: str) -> bool:
    """Whether the file's text is needed to know an image's other files."""
    lower = path.lower()
    return lower.endswith(TEXTS) or lower.rsplit("/", 1)[-1] == SLIDEDAT


def others(head: str, files: Files, contents: Contents) -> tuple[str, ...]:
    """Paths of what the head brings along, there or not; () where it does not say it plainly."""
    index = _slidedat(head, files) if is_mirax(head) else head
    content = contents.get(index, b"")
    names = _names(head, content) if len(content) <= MAX_READ else ()
    if any(set(name) & {"/", "\\"} or name in ("", ".", "..") for name in names):
        return ()
    rest = [path for path in _beside(index, names, files) if composed(path) != composed(head)]
    return tuple(dict.fromkeys([index, *rest] if rest and index != head else rest))


def unsent(head: str, files: Files, contents: Contents) -> tuple[str, ...]:
    """Those of the others that stay here, there or not: a picture of the whole slide shows its label."""
    pictures = slides.pictures(contents.get(head, b"")) if _is_hamamatsu(head) else ()
    return _beside(head, pictures, files)


def socket(slug: str, head: str, files: Files, contents: Contents) -> PlannedSocket | Problem:
    """What the socket holds once all of the image's files are there, else what is the matter."""
    brought = others(head, files, contents)
    if not brought:
        return _unsaid(head, files)
    kept_here = unsent(head, files, contents)
    sent = [path for path in brought if path not in kept_here]
    if missing := [path for path in sent if path not in files]:
        text = f"{shown(head)} names {several(missing)} as its data, which is not there."
        return Problem("missing-raw", text, Weight.LACKING)
    if empty := [path for path in (head, *sent) if not files[path].size]:
        return Problem("empty-file", f"{several(empty)} is empty (0 bytes). Copy it again.", Weight.LACKING)
    if len(sent) >= MOST_FILES and _is_hamamatsu(head):
        text = f"{shown(head)} names {len(sent)} files; Grand Challenge takes an image of up to {MOST_FILES}."
        return Problem("slide-files", f"{text} Save the slide as one file (.ndpi, .tif).")
    return PlannedSocket(slug, "Image", _source(head, sent), _sent(slug, head, sent, files, contents))


def name_inside(file: PlannedFile, path: str) -> str:
    """What a file of a slide is called in the zip that is sent: by the socket, where it bore the slide's name."""
    head, stem = file.packed[0].path, file.upload_name.removesuffix(".zip")
    if path == head:
        return stem + MIRAX
    return f"{stem}/{path[head.rfind('/') + 1 :].partition('/')[2]}"


def _sent(slug: str, head: str, sent: list[str], files: Files, contents: Contents) -> tuple[PlannedFile, ...]:
    """Under neutral names, by which the head that is sent names them; or in a zip, where folders stay."""
    if is_mirax(head):
        name = upload_name(slug, ".zip")
        packed = tuple(source(files[path]) for path in (head, *sent))
        return (PlannedFile(f"{name}/", name, 0, 0, 0, 0, packed=packed, unchanged=True),)
    several_of = [f"-{number}" for number in range(1, len(sent) + 1)] if _is_hamamatsu(head) else [""]
    names = [
        upload_name(slug, f"{mark}.{_ending(path)}") for mark, path in zip(several_of, sent, strict=True)
    ]
    text = _naming(head, contents[head], dict(zip(sent, names, strict=True)))
    first = planned(files[head], upload_name(slug, f".{extension(head)}"), text)
    return (first, *(planned(files[path], name) for path, name in zip(sent, names, strict=True)))


def _ending(path: str) -> str:
    """MetaIO's data may be called anything, and Hamamatsu's .opt is no image."""
    return extension(path) or ("opt" if path.lower().endswith(".opt") else "raw")


def _naming(head: str, content: bytes, names: Mapping[str, str]) -> str:
    if not _is_hamamatsu(head):
        return mhd.naming(content, next(iter(names.values())))
    return slides.naming(content, {composed(path).rsplit("/", 1)[-1]: name for path, name in names.items()})


def _names(head: str, content: bytes) -> tuple[str, ...]:
    lower = head.lower()
    if lower.endswith(MIRAX):
        return slides.mirax(content)
    if lower.endswith(".mhd"):
        return tuple(name for name in [mhd.data_name(content)] if name)
    return slides.hamamatsu(content)


def _is_hamamatsu(head: str) -> bool:
    return head.lower().endswith((".vms", ".vmu"))


def _stem(path: str) -> str:
    return path[: path.rfind(".")]


def _slidedat(head: str, files: Files) -> str:
    wanted = f"{composed(_stem(head))}/{SLIDEDAT}".lower()
    return next((path for path in files if composed(path).lower() == wanted), "")


def _beside(path: str, names: Iterable[str], files: Files) -> tuple[str, ...]:
    """The paths of these names in the folder of `path`, as the folder has them."""
    folder, there = path[: path.rfind("/") + 1], {composed(one): one for one in files}
    return tuple(there.get(composed(folder + name), folder + name) for name in names)


def _source(head: str, sent: list[str]) -> str:
    if len(sent) == 1:
        return f"{shown(head)} with {shown(sent[0])}"
    return f"{shown(head)} with {len(sent)} files"


def _unsaid(head: str, files: Files) -> Problem:
    if is_mirax(head) and not _slidedat(head, files):
        text = (
            f"{shown(head)} is a slide whose folder {shown(_stem(head))}/ (with Slidedat.ini) is not there."
        )
        return Problem("missing-raw", text, Weight.LACKING)
    if not head.lower().endswith(".mhd"):
        text = f"{shown(head)} does not name the files of its slide. Export the slide anew."
        return Problem("slide-files", text)
    return Problem(
        "mhd-header",
        f"{shown(head)} does not name one data file of its own folder (ElementDataFile). Save the image "
        "as one .mha file.",
    )
