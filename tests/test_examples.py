"""Each layout of config/examples, each recipe of docs/RULES.md and each drop of the README, lived through.

Folders as the texts show them are dropped on the real service, and what Grand Challenge then holds is compared
with what the texts promise. Only where things lie is not as in the text, and the environment makes it quick.
"""

import gzip
import hashlib
import io
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from casedrop import config, roots
from casedrop.inspection import check_all
from casedrop.model import Geometry
from casedrop.sandbox import Sandbox
from dicoms import sample
from forked import Forked, run
from identifying import ROOT, image, report, written
from lab import RUN, mha
from test_before_sending import nifti
from test_readme import README
from test_readme import ROOT as PROJECT

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]

Files = Mapping[str, bytes]
Values = dict[str, Any]

QUICK = {"QUIET_SECONDS": "0.2", "RESCAN_SECONDS": "0.2", "INCOMPLETE_SECONDS": "0.4"}


def shown(page: str, text: str) -> dict[str, str]:
    """The configurations of a page, by the name of their drop."""
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    return {f"{page}: {tomllib.loads(one)['drops'][0]['name']}": one for one in blocks}


TEXTS = {f"example: {one.stem}": one.read_text() for one in (PROJECT / "config" / "examples").iterdir()}
TEXTS |= shown("recipe", (PROJECT / "docs" / "RULES.md").read_text()) | shown("README", README)


@dataclass(frozen=True)
class Odd:
    """A folder that is not sent, and what is said of it: in failed/, or of one that `stays` in the status."""

    said: str
    files: Files
    stays: bool = False


@dataclass(frozen=True)
class Trial:
    """What is dropped, and what Grand Challenge then holds: values by title.

    `etc` are files that lie in /etc/casedrop. Where the rules give no `orders`, sets stand in the order they came.
    """

    folders: Mapping[str, Files]
    made: Mapping[str, Values]
    odd: Mapping[str, Odd]
    etc: Files = field(default_factory=dict)
    orders: Mapping[str, int] = field(default_factory=dict)


def a_file(content: bytes) -> Values:
    return {"sha256": hashlib.sha256(content).hexdigest()}


def volume(content: bytes, side: int = 8, voxel: tuple[float, float, float] = (0.7, 0.7, 1.5)) -> Values:
    return a_file(content) | {"geometry": Geometry((side, side, side), voxel)}


def stack(slices: int) -> Values:
    """De-identified, so that its bytes are others."""
    return {"sha256": ANY, "geometry": Geometry((8, 8, slices), (0.8, 0.7, 2.5))}


def series(folder: str, number: int, slices: int, ending: str = "", **elements: Any) -> Files:
    """As `identifying` makes them, each image with names wherever they may stand."""
    uid = f"{ROOT}.{number}"
    made = {
        n: image(n, SeriesNumber=number, SeriesInstanceUID=uid, SOPInstanceUID=f"{uid}.{n}", **elements)
        for n in range(1, slices + 1)
    }
    return {f"{folder}/IM{n:06}{ending}": written(one) for n, one in made.items()}


def photo(width: int, comment: str = "") -> bytes:
    info = PngImagePlugin.PngInfo()
    if comment:
        info.add_text("Comment", comment)
    file = io.BytesIO()
    Image.new("RGB", (width, 5), (200, 80, 40)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def packed(side: int, level: int = 9) -> bytes:
    """A NIfTI image of ones, on the grid of `grid(side)`."""
    affine = np.diag([-0.5, -0.5, 2, 1])
    return gzip.compress(nifti(np.ones((side, side, side), np.uint8), affine), level, mtime=0)


def grid(side: int) -> bytes:
    return mha(side).replace(b"0.7 0.7 1.5", b"0.5 0.5 2")


FINE = (0.5, 0.5, 2.0)
SCORE, PDF = b'{"score": 2.1, "reader": "A"}', b"%PDF-1.4 report"
CLINICAL = {"age": 63, "smoker": True}
SCOUT = series(
    "IMAGES/SE0001", 1, 1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesDescription="Topogram"
)
THIN = series("IMAGES/SE0002", 2, 6, SliceThickness=1)
THICK = series("IMAGES/SE0003", 3, 4, SliceThickness=5)
FEWER = series("IMAGES/SE0004", 4, 5, SliceThickness=1)

NOT_OURS = "its name is not what this drop takes"

TRIALS = {
    "example: one-image-per-patient": Trial(
        {"patient1_folder": {"image.mha": mha(8)}, "patient2_folder": {"scan/image.mha": mha(9)}},
        {
            "patient1_folder": {"generic-medical-image": volume(mha(8))},
            "patient2_folder": {"generic-medical-image": volume(mha(9), 9)},
        },
        {
            "patient3_folder": Odd(
                "takes one file, but again.mha and image.mha fit its rule",
                {"image.mha": mha(10), "again.mha": mha(11)},
            )
        },
    ),
    "example: image-segmentation-score": Trial(
        {
            "P0017_2": {
                "P0017_ct.mha": grid(8),
                "P0017_airways.nii.gz": packed(8),
                "score.json": SCORE,
                "notes.docx": b"notes",
            }
        },
        {
            "P0017 visit 2": {
                "ct-image": volume(grid(8), voxel=FINE),
                "airway-segmentation": volume(packed(8), voxel=FINE),
                "airway-score": 2.1,
                "visit-number": 2,
            }
        },
        {
            "P0018_1": Odd(
                'No file for the socket "airway-score" (it takes score.json)', {"P0018_ct.mha": grid(9)}
            ),
            "P0019": Odd(NOT_OURS, {"ct.mha": grid(10), "score.json": SCORE}, stays=True),
        },
    ),
    "example: dicom": Trial(
        {
            "P0017": {
                "DICOMDIR": sample("dicomdirtests/DICOMDIR").read_bytes(),
                **SCOUT,
                **THIN,
                **THICK,
                "report.pdf": PDF,
            }
        },
        {"P0017": {"ct-thin": stack(6), "ct-thick": stack(4), "report-pdf": a_file(PDF)}},
        {"P0018": Odd('The socket "ct-thin" takes one series, but', {**THIN, **FEWER})},
    ),
    "example: retinal-photos": Trial(
        {
            "R-0042": {
                "left.png": photo(6, "Jane Doe"),
                "right.png": photo(7),
                "grade.json": b'{"left": 2, "right": 1, "grader": "B"}',
            }
        },
        {
            "R-0042": {
                "left-eye": a_file(photo(6)) | {"geometry": Geometry((6, 5, None))},
                "right-eye": a_file(photo(7)) | {"geometry": Geometry((7, 5, None))},
                "left-grade": 2,
                "right-grade": 1,
            }
        },
        {
            "R-0043": Odd(
                'The socket "right-grade": grade.json, /right',
                {"left.png": photo(8), "right.png": photo(9), "grade.json": b'{"left": 2}'},
            ),
            "R-42": Odd(NOT_OURS, {"left.png": photo(10)}, stays=True),
        },
    ),
    "example: time-points": Trial(
        {"P0017": {"v1/ct.mha": mha(8), "v1/airways.mha": mha(9), "v2/ct.mha": mha(10)}},
        {
            "P0017 v1": {
                "ct-image": volume(mha(8)),
                "airway-segmentation": volume(mha(9), 9),
                "lung-volume": 5.21,
            },
            "P0017 v2": {"ct-image": volume(mha(10), 10), "lung-volume": 4.9},
        },
        {"P0018": Odd('In "v1": The table scores (scores.csv) has no row', {"v1/ct.mha": mha(11)})},
        {"scores.csv": b"Patient;Visit;Lung volume\r\nP0017;v1;5,21\r\nP0017;v2;4,9\r\n"},
    ),
    "example: algorithm-archive": Trial(
        {
            "utrecht-0017": {
                "ct.mha": mha(8),
                "clinical.json": json.dumps(CLINICAL).encode(),
                "consent.pdf": PDF,
            },
            "nijmegen-0004": {**series("series", 2, 6, ".dcm"), "clinical.json": b'{"age": 71}'},
        },
        {
            "Case 0017 from utrecht": {"chest-ct": volume(mha(8)), "clinical-information": CLINICAL},
            "Case 0004 from nijmegen": {"chest-ct": stack(6), "clinical-information": {"age": 71}},
        },
        {
            "utrecht-0018": Odd('No file for the socket "clinical-information"', {"ct.mha": mha(9)}),
            "0019": Odd(NOT_OURS, {"ct.mha": mha(10)}, stays=True),
        },
    ),
    "recipe: lung": Trial(
        {
            "P001": {"scan.nii.gz": packed(8), "scan_mask.nii.gz": packed(9)},
            "P002": {"scan.nii.gz": packed(10)},
        },
        {
            "P001": {
                "ct-image": volume(packed(8), voxel=FINE),
                "airway-segmentation": volume(packed(9), 9, FINE),
            },
            "P002": {"ct-image": volume(packed(10), 10, FINE)},
        },
        {"P003": Odd("No rule takes notes.txt", {"scan.nii.gz": packed(11), "notes.txt": b"x"})},
    ),
    "recipe: thorax": Trial(
        {
            "P001": {
                "autorun.inf": b"[autorun]",
                "viewer/viewer.exe": b"MZ",
                "REPORT": written(report()),
                **SCOUT,
                **THIN,
                **THICK,
                **FEWER,
            }
        },
        {"P001": {"ct-image": stack(6)}},
        {"P002": Odd('No series for the socket "ct-image"', {**SCOUT, **THICK})},
    ),
    "recipe: follow-up": Trial(
        {"P001": {"v1/ct.mha": mha(8), "v1/mask.mha": mha(9), "v2/ct.mha": mha(10)}},
        {
            "P001 v1": {"ct-image": volume(mha(8)), "airway-segmentation": volume(mha(9), 9)},
            "P001 v2": {"ct-image": volume(mha(10), 10)},
        },
        {
            "P002": Odd(
                'In "v2": No file for the socket "ct-image" (it takes ct.mha)',
                {"v1/ct.mha": mha(11), "v2/mask.mha": mha(12)},
            ),
            "P3": Odd(NOT_OURS, {"v1/ct.mha": mha(13)}, stays=True),
        },
    ),
    "recipe: visits": Trial(
        {"P001": {"v1_ct.mha": mha(8), "v2_ct.mha": mha(9)}},
        {"P001 v1": {"ct-image": volume(mha(8))}, "P001 v2": {"ct-image": volume(mha(9), 9)}},
        {"P002": Odd("ct.mha: outside every part of the folder", {"v1_ct.mha": mha(10), "ct.mha": mha(11)})},
    ),
    "recipe: volumes": Trial(
        {"P001": {"v1/ct.mha": mha(8), "v2/ct.mha": mha(9)}},
        {
            "A-17": {"ct-image": volume(mha(8)), "lung-volume": 5.21},
            "B-3": {"ct-image": volume(mha(9), 9), "lung-volume": 4.0},
        },
        {
            "P002": Odd('v1 and v2 would all be titled "C-9"', {"v1/ct.mha": mha(10), "v2/ct.mha": mha(11)}),
            "P003": Odd("has no row", {"v1/ct.mha": mha(12)}),
        },
        {
            "scores.csv": b"Patient;Visit;Code;Lung volume\r\nP001;v1;A-17;5,21\r\nP001;v2;B-3;4\r\n"
            b"P002;v1;C-9;1,5\r\nP002;v2;C-9;1,5\r\n"
        },
    ),
    "recipe: corrected": Trial(
        {"P001_1": {"ct.mha": mha(8)}},
        {"P001_1": {"ct-image": volume(mha(8)), "lung-volume": 5.21}},
        {"P002_1": Odd("has no row", {"ct.mha": mha(9)})},
        {"scores.csv": b"Patient,Visit,Lung volume\r\nP001,1,5.21\r\n"},
    ),
    "README: tutorial": Trial(
        {"P001": {"whatever.nii.gz": packed(8)}},
        {"P001": {"generic-medical-image": volume(packed(8), voxel=FINE)}},
        {"P002": Odd("No rule takes notes.txt", {"image.mha": mha(), "notes.txt": b"x"})},
    ),
    "README: airways": Trial(
        {
            "P001": {"ct.nii.gz": packed(8), "ct_airways.nii.gz": packed(8, level=1), "score.json": SCORE},
            "P002": {"ct.nii.gz": packed(9), "score.json": b'{"score": 3}'},
        },
        {
            "P001": {
                "ct-image": volume(packed(8), voxel=FINE),
                "airway-segmentation": volume(packed(8, level=1), voxel=FINE),
                "airway-score": 2.1,
            },
            "P002": {"ct-image": volume(packed(9), 9, FINE), "airway-score": 3},
        },
        {
            "P003": Odd(
                "ct_airways.nii.gz does not lie on the grid of ct-image",
                {"ct.nii.gz": packed(10), "ct_airways.nii.gz": packed(11), "score.json": SCORE},
            )
        },
    ),
    "README: thorax": Trial(
        {"P001": {**SCOUT, **THIN}},
        {"P001": {"ct-image": stack(6)}},
        {"P002": Odd("No rule takes series 3 (CT, 4 files", {**THIN, **THICK})},
    ),
    "README: visits": Trial(
        {"P001_2": {"ct.mha": mha(8), "notes.txt": b"x"}},
        {"P001 visit 2": {"ct-image": volume(mha(8)), "visit-number": 2}},
        {
            "P001_3": Odd("takes one file, but a.mha and b.mha", {"a.mha": mha(9), "b.mha": mha(10)}),
            "P001": Odd(NOT_OURS, {"ct.mha": mha(11)}, stays=True),
        },
    ),
    "README: follow-up": Trial(
        {"P001": {"v1/ct.mha": mha(8), "v2/ct.mha": mha(9)}},
        {"P001 v1": {"ct-image": volume(mha(8))}, "P001 v2": {"ct-image": volume(mha(9), 9)}},
        {"P002": Odd("notes.txt: outside every part", {"v1/ct.mha": mha(10), "notes.txt": b"x"})},
    ),
    "README: scans": Trial(
        {"P001": {"deep/ct.mha": mha(8)}},
        {"P001": {"ct-image": volume(mha(8))}},
        {"P002": Odd("No rule takes notes.txt", {"ct.mha": mha(9), "notes.txt": b"x"})},
    ),
    "README: volumes": Trial(
        {"P001_1": {"ct.mha": mha(8)}, "P001_2": {"ct.mha": mha(9)}},
        {
            "A 17 visit 1": {"ct-image": volume(mha(8)), "lung-volume": 5.21},
            "A 17 visit 2": {"ct-image": volume(mha(9), 9), "lung-volume": 4.0},
        },
        {
            "P001_3": Odd("({table.scores.Order}) is no whole number from 1", {"ct.mha": mha(10)}),
            "P001_4": Odd("has no row", {"ct.mha": mha(11)}),
        },
        {
            "scores.csv": b"Patient;Visit;Study code;Order;Lung volume\r\nP001;1;A 17;3;5,21\r\n"
            b"P001;2;A 17;40;4\r\nP001;3;A 17;0;4,5\r\n"
        },
        orders={"A 17 visit 1": 3, "A 17 visit 2": 40},
    ),
}


class Server:
    """A lab's server, on which a text is the configuration."""

    def __init__(self, top: Path, sandbox: Sandbox, text: str) -> None:
        self.top, self.sandbox = top, sandbox
        for place in ("srv", "etc"):
            text = text.replace(f'"/{place}/casedrop/', f'"{top}/{place}/')
            (top / place).mkdir()
        self.config = top / "casedrop.toml"
        self.config.write_text(text)
        self.environ = {f"CASEDROP_SETTLE__{name}": seconds for name, seconds in QUICK.items()} | {
            "CASEDROP_PLATFORM__URL": sandbox.url,
            "CASEDROP_PLATFORM__TOKEN": sandbox.token,
            "CASEDROP_STATE__DIRECTORY": str(top / "state"),
            "CASEDROP_CONFIG": str(self.config),
        }
        self.settings = config.load(self.config, self.environ)
        (self.rules,) = self.settings.drops
        root = Path(self.rules.root)
        roots.init(root)
        self.drop, self.done, self.failed = (root / name for name in roots.FOLDERS)

    def move_in(self, name: str, files: Files) -> None:
        for path, content in files.items():
            (self.top / "desk" / name / path).parent.mkdir(parents=True, exist_ok=True)
            (self.top / "desk" / name / path).write_bytes(content)
        (self.top / "desk" / name).rename(self.drop / name)

    def once(self) -> int:
        return Forked([*RUN, "--once"], os.environ | self.environ, self.top / "log").wait(100)

    def command(self, *arguments: str) -> str:
        code, output, errors = run(arguments, os.environ | self.environ)
        assert code == 0, errors
        return output

    def status(self, folder: str) -> Any:
        (drop,) = json.loads((self.top / "state" / "status.json").read_text())["drops"]
        return next(one for one in drop["cases"] if one["folder"] == folder)

    def reason(self, folder: str) -> str:
        return " ".join((self.failed / f"{folder}.reason.txt").read_text().split())

    def held(self) -> dict[str, tuple[int, Values]]:
        """Order and values of all that Grand Challenge holds of the drop, by title; elsewhere there is nothing."""
        look = self.sandbox.archive_items if self.rules.archive else self.sandbox.display_sets
        found = {
            one.title: (one.order, one.values) for one in look(self.rules.archive or self.rules.reader_study)
        }
        assert len(self.sandbox.state.display_sets) == len(found)
        return found


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_what_is_shown_does_what_it_says(name: str, sandbox: Sandbox, tmp_path: Path) -> None:
    trial, server = TRIALS[name], Server(tmp_path, sandbox, TEXTS[name])
    for file, content in trial.etc.items():
        (tmp_path / "etc" / file).write_bytes(content)
    found = check_all(server.settings, tmp_path, server.environ, offline=False)
    assert [one.line for one in found if one.level == "problem"] == []
    for folder, files in (*trial.folders.items(), *((name, one.files) for name, one in trial.odd.items())):
        server.move_in(folder, files)
    if server.rules.release == "ask":
        assert server.once() == 75
        release(server, trial)
        assert server.once() == 0
    else:
        assert server.once() == 1, (tmp_path / "log").read_text()
    assert_made(server, trial)
    assert_told(server, trial)


def release(server: Server, trial: Trial) -> None:
    """Until a person says so nothing is sent; then only what was named goes."""
    assert server.held() == {}
    for folder in trial.folders:
        assert server.status(folder)["state"] == "waiting for a person"
        assert f"{folder} is let go" in server.command("release", f"{server.rules.name}/{folder}")


def assert_made(server: Server, trial: Trial) -> None:
    """Grand Challenge holds this and no more, and each file of the good folders is in done/ as it was."""
    found = server.held()
    assert {title: values for title, (_, values) in found.items()} == trial.made
    if not server.rules.archive:
        orders = {title: order for title, (order, _) in found.items()}
        assert orders == trial.orders or sorted(orders.values()) == [10 * (n + 1) for n in range(len(orders))]
    for folder, files in trial.folders.items():
        assert {path: (server.done / folder / path).read_bytes() for path in files} == files
        assert (server.done / f"{folder}.receipt.json").exists()


def assert_told(server: Server, trial: Trial) -> None:
    for folder, one in trial.odd.items():
        assert one.said in (server.status(folder)["why"] if one.stays else server.reason(folder))
    assert {one.name for one in server.drop.iterdir()} == {
        name for name, one in trial.odd.items() if one.stays
    }
