"""A series as it is planned. By itself, so that a service that is measured has not loaded pydicom with it."""

from pathlib import Path

from casedrop.model import PlannedFile, Procedure, SourceFile


def planned(folder: Path, procedure: Procedure) -> PlannedFile:
    packed = []
    for path in sorted(folder.iterdir()):
        found = path.stat()
        one = SourceFile(path.name, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        packed.append(one)
    return PlannedFile("ct.zip", "ct.zip", 0, 0, 0, 0, packed=tuple(packed), procedure=procedure)
