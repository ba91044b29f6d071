"""The line of a MetaImage header (.mhd) that names its data. Pure.

Source of the format: the MetaIO documentation, tag ElementDataFile: a name relative to the header, LOCAL,
LIST, or a pattern of names with % in it. Headers are read as Latin-1, which loses no byte; names are UTF-8.
"""

import re

DATA_FILE = re.compile(r"(?m)^([^\S\r\n]*ElementDataFile[^\S\r\n]*=[^\S\r\n]*)([^\r\n]*)")


def data_name(header: bytes) -> str:
    """The one file beside the header that holds its data, "" where it names none such."""
    found = DATA_FILE.search(header.decode("latin-1"))
    try:
        name = found[2].strip().encode("latin-1").decode() if found else ""
    except UnicodeDecodeError:
        return ""
    name = name.removeprefix("./")
    return "" if name in ("LOCAL", "LIST") or set(name) & {"/", "\\", "%"} else name


def naming(header: bytes, name: str) -> str:
    """The header's text, naming `name` as its data."""
    return DATA_FILE.sub(rf"\g<1>{name}", header.decode("latin-1"))
