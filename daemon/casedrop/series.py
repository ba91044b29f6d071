"""DICOM files become series, and rules say which. Pure.

A series (one SeriesInstanceUID, PS3.3, C.7.3.1) is one image. What is said of one here stands in reasons
and receipts on the share: its number, modality, files and folder, never its description, into which people
type names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from casedrop.dicom_model import DicomHeader, DicomRule, Pick, SeriesLine, fits
from casedrop.near import several, shown


@dataclass(frozen=True, slots=True)
class Series:
    """The images of one series by their path, sorted, and their size in bytes."""

    files: Mapping[str, DicomHeader]
    bytes: int

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self.files)

    @property
    def header(self) -> DicomHeader:
        """That of the first file: good for what all have alike."""
        return next(iter(self.files.values()))

    @property
    def slices(self) -> int:
        """Frames of all files together."""
        return sum(header.frames for header in self.files.values())

    @property
    def taken(self) -> str:
        """When its last image was made, as YYYYMMDDHHMMSS, "" where none says it."""
        return max(header.taken for header in self.files.values())


def series_of(
    headers: Mapping[str, DicomHeader], sizes: Mapping[str, int], *, images: bool = True
) -> tuple[Series, ...]:
    """The images among `headers` in series, or all else, by the first path of each; `sizes` in bytes by path.

    Those without a SeriesInstanceUID are one series for each folder they lie in.
    """
    found: dict[tuple[str, str], dict[str, DicomHeader]] = {}
    for path, header in sorted(headers.items()):
        if header.image is images and not is_unreadable(header):
            alone = "" if header.series else path.rpartition("/")[0]
            found.setdefault((header.series, alone), {})[path] = header
    return tuple(Series(files, sum(sizes[path] for path in files)) for files in found.values())


def is_unreadable(header: DicomHeader) -> bool:
    """Whether a file is DICOM but so damaged that it does not even say of which series it is."""
    return not header.series and (header.broken or not header.sop_class)


def matching(rule: DicomRule, series: Iterable[Series]) -> list[Series]:
    """The series of which every file has what the rule asks for."""
    return [one for one in series if all(fits(rule, header) for header in one.files.values())]


def picked(pick: Pick, series: list[Series]) -> list[Series]:
    """The one that `pick` names; all of those that are alike in it."""
    if not pick or len(series) < 2:  # noqa: PLR2004  nothing to pick from
        return series
    if pick == "largest":
        most = max((one.slices, one.bytes) for one in series)
        return [one for one in series if (one.slices, one.bytes) == most]
    last = max(one.taken for one in series)
    return [one for one in series if one.taken == last] if last else series


def name(series: Series) -> str:
    """As it is called in reasons and receipts: ``series 3 (CT, 240 files in scans/SE3)``."""
    number = series.header.number
    called = "a series without number" if number is None else f"series {number}"
    return f"{called} ({shown(series.header.modality) or 'no modality'}, {place(series.paths)})"


def opening(series: Series) -> str:
    """Its name at the beginning of a sentence."""
    called = name(series)
    return called[:1].upper() + called[1:]


def place(paths: Iterable[str]) -> str:
    """How many files, and in which folder: ``240 files in scans/SE3``, ``the file scans/IM1``."""
    known = tuple(paths)
    if len(known) == 1:
        return f"the file {shown(known[0])}"
    folder = common_folder(known)
    return f"{len(known)} files in {shown(folder)}" if folder else f"{len(known)} files"


def common_folder(paths: Iterable[str]) -> str:
    """The deepest folder that holds all of them, "" for the case folder."""
    split = [path.split("/")[:-1] for path in paths]
    shared = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "/".join(shared)


def rule_words(rule: DicomRule) -> str:
    """A rule in a sentence: ``Modality = CT, SliceThickness at most 3``."""
    said = []
    for test in rule:
        parts = [f"= {' or '.join(test.globs)}"] if test.globs else []
        if test.minimum is not None and test.minimum == test.maximum:
            parts.append(f"= {test.minimum:g}")
        else:
            parts += [] if test.minimum is None else [f"at least {test.minimum:g}"]
            parts += [] if test.maximum is None else [f"at most {test.maximum:g}"]
        parts += [f"not {' or '.join(test.unlike)}"] if test.unlike else []
        said.append(f"{test.keyword} {' and '.join(parts)}")
    return ", ".join(said) or "any series"


def near(rule: DicomRule, series: Iterable[Series], objects: Mapping[str, DicomHeader]) -> str:
    """What there is instead of a series that fits, and what keeps each from fitting, in sentences."""
    said = [_near_series(rule, one) for one in series]
    reports = [path for path, header in objects.items() if rule and fits(rule, header)]
    said += (
        [f"{place(reports)} would fit but {'is' if len(reports) == 1 else 'are'} no image"] if reports else []
    )
    return f"There is: {'; '.join(said)}." if said else ""


def _near_series(rule: DicomRule, series: Series) -> str:
    count = len(series.files)
    fitting = sum(fits(rule, header) for header in series.files.values())
    if fitting:
        return f"{name(series)}, of which {fitting} of {count} files fit (a series is taken whole or not)"
    failing = [test.keyword for test in rule if not all(fits((test,), one) for one in series.files.values())]
    return f"{name(series)}, whose {several(failing)} {'does' if len(failing) == 1 else 'do'} not fit"


def line(series: Series, fate: str, sockets: tuple[str, ...]) -> SeriesLine:
    """What ``casedrop plan`` shows of it."""
    first = series.header
    return SeriesLine(
        modality=first.modality,
        description=first.description,
        number=first.number,
        paths=series.paths,
        slices=series.slices,
        bytes=series.bytes,
        size=first.size,
        folder=common_folder(series.paths),
        fate=fate,
        sockets=sockets,
    )
