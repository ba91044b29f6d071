"""Slides of several files, as the platform's importer finds them together (panimg, image_builders/tiff.py).

Only that all are there under the names by which they are looked for: no pixel is read, so that no size is known.
"""

import zipfile
from collections.abc import Mapping
from os.path import commonpath
from pathlib import Path

from casedrop.slides import hamamatsu, mirax


def name_of(files: Mapping[str, Path]) -> str:
    """The head's name where these uploads are one slide, else ""."""
    if len(files) == 1:
        (whole,) = files.values()
        return _mirax(whole) if zipfile.is_zipfile(whole) else ""
    heads = [name for name in files if name.lower().endswith((".vms", ".vmu"))]
    if len(heads) != 1:
        return ""
    named = hamamatsu(files[heads[0]].read_bytes())
    return heads[0] if named and {*named, *heads} == files.keys() else ""


def _mirax(path: Path) -> str:
    """A folder that all names have in common is taken away first, as the platform does."""
    with zipfile.ZipFile(path) as packed:
        names = packed.namelist()
        common = commonpath(names) if len(names) > 1 else ""
        inside = {name.removeprefix(f"{common}/" if common else ""): name for name in names}
        heads = [name for name in inside if name.lower().endswith(".mrxs")]
        if len(heads) != 1:
            return ""
        folder = heads[0][: heads[0].rfind(".")]
        slidedat = inside.get(f"{folder}/Slidedat.ini")
        named = mirax(packed.read(slidedat)) if slidedat else ()
    return heads[0] if named and {f"{folder}/{name}" for name in named} <= inside.keys() else ""
