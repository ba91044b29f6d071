"""How small texts are written: whole, and on the disk before anybody goes by them."""

import os
from pathlib import Path


def write_anew(path: Path, text: str) -> None:
    """Whatever else bears that name, a link above all, is not written through. Raises OSError."""
    path.unlink(missing_ok=True)
    with path.open("x", encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
