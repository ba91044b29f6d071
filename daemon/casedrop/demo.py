"""The first five minutes: a Grand Challenge of its own, the real service, and folders dropped as people do."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from casedrop import roots
from casedrop.sandbox import Sandbox

CONFIG = """
[platform]
url = "{url}"

[state]
directory = "{state}"

[settle]
quiet_seconds = 2
rescan_seconds = 2
incomplete_seconds = 8

[[drops]]
name = "lung"
root = "{root}"
reader_study = "lung-2026"

[[drops.sockets]]
socket = "ct-image"
files = ["*.mha", "*.dcm"]
fallback = true

[[drops.sockets]]
socket = "airway-segmentation"
files = "*_airways.mha"
required = false

[[drops.sockets]]
socket = "some-score"
value_from = {{ json = "score.json", pointer = "/score" }}
"""

LONGEST = 90.0
SIDE = 64
SLICES = 24
NAME = "Sample^Jane"
FOLDERS = 6


def show(*, keep: bool) -> int:
    """Run the demo; 0 when every folder ended where it should."""
    top = Path(tempfile.mkdtemp(prefix="casedrop-demo-"))
    try:
        with Sandbox() as sandbox:
            sandbox.furnish()
            return _show(top, sandbox)
    finally:
        if keep:
            print(f"\nKept: {top}")  # noqa: T201
        else:
            shutil.rmtree(top)


def _show(top: Path, sandbox: Sandbox) -> int:
    root = top / "lung"
    roots.init(root)
    config = top / "casedrop.toml"
    config.write_text(CONFIG.format(url=sandbox.url, state=top / "state", root=root))
    _say(f"A local Grand Challenge answers at {sandbox.url}, and the service watches {root}/drop.")
    _say(f"What it holds, while this runs: {sandbox.index} (in a browser).")
    with _service(config, top / "service.log", sandbox.token):
        slow = _drop_folders(top / "desk", root / "drop")
        _follow(top / "state" / "status.json", slow)
    return _ending(root, sandbox)


@contextmanager
def _service(config: Path, log: Path, token: str) -> Iterator[None]:
    command = [sys.executable, "-c", "from casedrop.cli import main; main()", "run"]
    command += ["--as-root", "--config", str(config)]
    environ = os.environ | {"CASEDROP_PLATFORM__TOKEN": token}
    with log.open("wb") as output, subprocess.Popen(command, env=environ, stderr=output) as service:  # noqa: S603
        try:
            yield
        finally:
            service.terminate()


def _drop_folders(desk: Path, drop: Path) -> threading.Thread:
    """Moved in, copied slowly, one file short, broken, with everything, DICOM; the slow copy goes on."""
    for name in ("P001_moved", "P003_no_score", "P004_broken", "P005_all_three"):
        (desk / name).mkdir(parents=True)
        _image(desk / name / "ct.mha")
        _score(desk / name)
    (desk / "P003_no_score" / "score.json").unlink()
    (desk / "P004_broken" / "ct.mha").write_bytes(b"this is not an image")
    mask = bytes(voxel & 1 for voxel in os.urandom(SIDE**3))
    (desk / "P005_all_three" / "ct_airways.mha").write_bytes(_mha(mask))
    (desk / "P006_dicom").mkdir()
    _series(desk / "P006_dicom")
    _score(desk / "P006_dicom")
    for folder in sorted(desk.iterdir()):
        folder.rename(drop / folder.name)
    _say(
        "Dropped: P001 moved in, P003 without its score, P004 with a broken image, P005 with all three files, "
        f"P006 with {SLICES} DICOM slices that name their patient, {NAME}."
    )
    slow = threading.Thread(target=_copy_slowly, args=(drop / "P002_slow_copy",))
    slow.start()
    _say("P002 is being copied slowly, as over a bad line.")
    return slow


def _copy_slowly(folder: Path) -> None:
    folder.mkdir()
    whole = _mha(os.urandom(SIDE**3))
    with (folder / "ct.mha").open("wb") as file:
        for part in range(4):
            file.write(whole[part * len(whole) // 4 : (part + 1) * len(whole) // 4])
            file.flush()
            time.sleep(1.5)
    _score(folder)


def _mha(voxels: bytes) -> bytes:
    header = (
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"DimSize = {SIDE} {SIDE} {SIDE}\nElementSpacing = 0.7 0.7 1.5\nElementType = MET_UCHAR\n"
        "ElementDataFile = LOCAL\n"
    )
    return header.encode() + voxels


def _series(folder: Path) -> None:
    """A small CT as a scanner writes it."""
    for number in range(SLICES):
        made = Dataset()
        made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, generate_uid()
        made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = "2.25.1", "2.25.2", "2.25.3"
        made.PatientName, made.PatientID, made.PatientBirthDate = NAME, "4711", "19700131"
        made.Modality, made.SeriesNumber, made.InstanceNumber = "CT", 3, number + 1
        made.Rows = made.Columns = SIDE
        made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
        made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
        made.RescaleSlope, made.RescaleIntercept = 1, -1024
        made.PixelSpacing, made.SliceThickness = [0.7, 0.7], 1.5
        made.ImagePositionPatient, made.ImageOrientationPatient = [0, 0, 1.5 * number], [1, 0, 0, 0, 1, 0]
        made.PixelData = os.urandom(SIDE * SIDE)
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dcmwrite(folder / f"IM{number + 1:04}.dcm", made, enforce_file_format=True)


def _image(path: Path) -> None:
    path.write_bytes(_mha(os.urandom(SIDE**3)))


def _score(folder: Path) -> None:
    (folder / "score.json").write_text('{"score": 2.5}')


def _follow(status: Path, slow: threading.Thread) -> None:
    """A line each time a folder's state or its reason for waiting changes, until all are at rest."""
    began = time.monotonic()
    told: dict[str, tuple[str, str]] = {}
    while time.monotonic() - began < LONGEST:
        cases = _cases(status)
        for case in cases:
            news = (case["state"], case["why"])
            if told.get(case["folder"]) != news:
                told[case["folder"]] = news
                why = f": {case['why']}" if case["why"] else ""
                _say(f"{time.monotonic() - began:5.1f} s  {case['folder']:<15} {case['state']}{why}")
        if (
            not slow.is_alive()
            and len(cases) == FOLDERS
            and {"done", "failed"} >= {one["state"] for one in cases}
        ):
            return
        time.sleep(0.1)


def _cases(status: Path) -> list[dict[str, Any]]:
    try:
        report = json.loads(status.read_text())
    except OSError:
        return []
    return sorted(report["drops"][0]["cases"], key=lambda case: str(case["folder"]))


def _ending(root: Path, sandbox: Sandbox) -> int:
    _say("\nOn the share now:")
    for name in roots.FOLDERS:
        _say(f"  {name}/")
        for entry in sorted((root / name).iterdir()):
            _say(f"    {entry.name}{'/' if entry.is_dir() else ''}")
    for reason in sorted((root / "failed").glob("P004*.reason.txt")):
        _say(f"\n{reason.name} says:\n")
        _say("\n".join(f"  {line}" for line in reason.read_text().splitlines()))
    _say("\nGrand Challenge holds:")
    for display_set in sandbox.display_sets("lung-2026"):
        _say(f'  "{display_set.title}" with {", ".join(sorted(display_set.values)) or "nothing"}')
    for receipt in (root / "done").glob("P006*.receipt.json"):
        _say(f"\nOf P006_dicom its receipt says: {_packed_words(json.loads(receipt.read_text()))}")
    done = {entry.name[:4] for entry in (root / "done").iterdir() if entry.is_dir()}
    failed = {entry.name[:4] for entry in (root / "failed").iterdir() if entry.is_dir()}
    as_expected = done == {"P001", "P002", "P005", "P006"} and failed == {"P003", "P004"}
    _say(
        "\nEvery folder ended where it should."
        if as_expected
        else "\nNot every folder ended where it should."
    )
    return 0 if as_expected else 1


def _packed_words(receipt: dict[str, Any]) -> str:
    (file,) = next(one["files"] for one in receipt["sockets"] if one["socket"] == "ct-image")
    return (
        f"{file['number']} files as {file['path']}, de-identified by the {file['method']}, which took away or "
        f"replaced {len(file['taken'])} attributes, PatientName among them."
    )


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201
