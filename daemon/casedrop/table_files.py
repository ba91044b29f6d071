"""A lab's table as it is on disk, read again when it has changed."""

import os
import stat

from casedrop import table_text, workbook
from casedrop.model import LabTable
from casedrop.tables import MOST_BYTES, Table, TableProblemError, indexed

Stamp = tuple[int, int, int]

PACKED = b"PK\x03\x04"
"""How a zip begins, which an XLSX is."""


class TableFile:
    """The same `Table` as long as the file has not changed."""

    def __init__(self, rule: LabTable, columns: tuple[str, ...]) -> None:
        self.rule = rule
        self._columns = columns
        self._table: Table | None = None
        self._why = ""
        self._read: Stamp | None = None
        self._seen: Stamp | None = None

    def __str__(self) -> str:
        return f"The table {self.rule.name} {self.rule.file}"

    def table(self) -> Table:
        """Raises TableProblemError where it cannot be used.

        A table that has changed counts once two looks in a row saw it alike: it may still be being saved.
        """
        try:
            stamp = _stamp(self.rule.file)
            if stamp != self._read and (self._table is None or stamp == self._seen):
                self._read_anew()
                self._read = stamp
        except OSError as error:
            raise TableProblemError(f"cannot be read ({error.strerror})") from None
        self._seen = stamp
        if self._table is None:
            raise TableProblemError(self._why)
        return self._table

    def _read_anew(self) -> None:
        self._table = None
        try:
            self._table = self._parsed()
        except TableProblemError as problem:
            self._why = str(problem)

    def _parsed(self) -> Table:
        name = os.path.basename(self.rule.file)
        with open(self.rule.file, "rb", buffering=0) as file:
            packed = name.lower().endswith((".xlsx", ".xlsm")) or file.read(4) == PACKED
            file.seek(0)
            if packed:
                rows = workbook.rows(file, self.rule.sheet, self._columns)
            elif self.rule.sheet:
                raise TableProblemError("is no XLSX workbook, so it has no sheet to choose")
            else:
                rows = table_text.rows(file.readall(), self._columns)
            return indexed(self.rule, name, self._columns, rows)


def _stamp(path: str) -> Stamp:
    looks = os.stat(path)
    if not stat.S_ISREG(looks.st_mode):
        raise TableProblemError("is no plain file")
    if looks.st_size > MOST_BYTES:
        raise TableProblemError(f"is larger than {MOST_BYTES // 1_000_000} MB, which is more than is read")
    return looks.st_size, looks.st_mtime_ns, looks.st_ino
