"""How fast a series is de-identified and packed, and in how much memory; nothing is sent.

For each number of files: slices of 512 KB are written, then packed by processes started for it. Prints files a
second (without and with starting the workers), the processor time of each side for a file, and the peak resident
memory, MB, of the packing process and of its largest worker.

With `--where` nothing is packed: the files are de-identified in this process, and it prints by which functions of
Casedrop the time goes. A function's time holds that of those it calls; the profiler makes short ones look longer.
"""

import argparse
import cProfile
import io
import multiprocessing
import pstats
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pydicom
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

import casedrop
import given
from casedrop.model import PlannedFile, Procedure, ProcedureName
from casedrop.pack import Packer
from planned import planned
from timed import so_far

SIDE = 512
ROOT = "1.3.6.1.4.1.5962.99"


def ct(number: int, side: int = SIDE) -> bytes:
    """A CT slice of `side` x `side` x 16 bit with the header of an ordinary scanner."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 100"
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"{ROOT}.1.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = f"{ROOT}.2", f"{ROOT}.3"
    made.FrameOfReferenceUID = f"{ROOT}.4"
    made.PatientName, made.PatientID, made.PatientBirthDate = "Doe^Jane", "1234567", "19700101"
    made.StudyDate = made.SeriesDate = made.AcquisitionDate = made.ContentDate = "20260101"
    made.Modality, made.Manufacturer, made.KVP = "CT", "ACME", 120
    made.StudyDescription, made.SeriesDescription = "Thorax", "Lung 1.0"
    made.Rows = made.Columns = side
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 1
    made.PixelSpacing, made.SliceThickness = [0.7, 0.7], 1.0
    made.ImagePositionPatient, made.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
    made.InstanceNumber, made.RescaleSlope, made.RescaleIntercept = number, 1, -1024
    block = made.private_block(0x0009, "ACME", create=True)
    for at in range(40):
        block.add_new(at, "LO", f"private {at}")
    made.PixelData = number.to_bytes(2, "little") * side * side
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(ExplicitVRLittleEndian)
    out = io.BytesIO()
    dcmwrite(out, made, enforce_file_format=True)
    return out.getvalue()


def measure(top: Path, procedure: Procedure, workers: int) -> None:
    file = planned(top / "series", procedure)
    packer = Packer(top / "spool", bytes(32), workers)
    started = time.monotonic()
    few = PlannedFile("", "", 0, 0, 0, 0, packed=file.packed[: 4 * workers], procedure=procedure)
    packer.pack(1, str(top / "series"), few, lambda: None)
    warm, spent = time.monotonic(), processor_seconds()
    made = packer.pack(2, str(top / "series"), file, lambda: None)
    done = time.monotonic()
    own, theirs = (1000 * (now - then) for now, then in zip(processor_seconds(), spent, strict=True))
    packer.close()  # the workers are gone then, so that their peaks count
    peaks = [
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    count = len(file.packed)
    print(
        f"{procedure.name}: {count} files, {made.size / 1e6:.0f} MB: {count / (done - warm):.0f} files/s "
        f"({count / (done - started):.0f} with the start of {workers} workers); {own / count:.1f} ms of processor "
        f"time a file and {theirs / count:.1f} of workers; peak {peaks[0]:.0f} MB, a worker {peaks[1]:.0f} MB"
    )


def processor_seconds() -> tuple[float, float]:
    """Of this process, and of its workers so far."""
    return time.process_time(), sum(map(so_far, multiprocessing.active_children()))


def where(count: int, procedure: Procedure) -> None:
    from casedrop.deidentify import deidentify  # noqa: PLC0415
    from casedrop.in_common import InCommon  # noqa: PLC0415

    files, in_common = [ct(number) for number in range(1, count + 1)], InCommon()
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    profiler = cProfile.Profile()
    profiler.enable()
    for data in files:
        deidentify(data, procedure, bytes(32), alone=False, in_common=in_common)
    profiler.disable()
    ours = str(Path(casedrop.__file__).parent)
    found = [
        (seconds, f"{Path(path).name}: {name}")
        for (path, _, name), (_, _, _, seconds, _) in pstats.Stats(profiler).stats.items()  # type: ignore[attr-defined]
        if path.startswith(ours)
    ]
    print(f"{procedure.name}: {count} files of 512 KB, under a profiler; times hold those of what is called")
    for seconds, name in sorted(found, reverse=True)[:30]:
        print(f"{1000 * seconds / count:7.3f} ms a file  {name}")


def pack(top: Path, count: int, options: list[str]) -> None:
    """So many slices, in a process of its own, so that each number has a peak of its own."""
    folder = top / "series"
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        (folder / f"{number:05}").write_bytes(ct(number))
    done = subprocess.run([sys.executable, __file__, "--in", str(top), *options], check=False)
    if done.returncode:
        sys.exit(done.returncode)
    shutil.rmtree(top)


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("files", type=given.count, nargs="*", help="how many slices (100, then 2000)")
    arguments.add_argument("--procedure", choices=get_args(ProcedureName), default="grand-challenge")
    arguments.add_argument("--workers", type=given.count, default=2, help="processes that de-identify (2)")
    arguments.add_argument("--where", action="store_true", help="show where the time of a worker goes")
    arguments.add_argument("--in", dest="top", type=Path, help="measure what is there (used by itself)")
    asked = arguments.parse_args()
    name: ProcedureName = asked.procedure
    if asked.top:
        measure(asked.top, Procedure(name), asked.workers)
        return
    for count in asked.files or (100, 2000):
        if asked.where:
            where(count, Procedure(name))
    if not asked.where:
        options = ["--procedure", name, "--workers", str(asked.workers)]
        with given.place() as top:
            for count in asked.files or (100, 2000):
                pack(top / str(count), count, options)


if __name__ == "__main__":
    main()
