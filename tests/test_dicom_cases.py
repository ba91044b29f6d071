"""Folders from a scanner dropped on the running service: one image of each series, and no name anywhere."""

import hashlib
import io
import json
import os
import shutil
import signal
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from pydicom import dcmread

import identifying
from identifying import CT, US, image, series, written
from lab import Lab
from proxy import Proxy
from test_endings import SOON
from test_pack import workers
from waiting import wait_for

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]

BY_HEADER = 'dicom = { Modality = "CT" }'


def take_dicom(lab: Lab, rule: str = BY_HEADER, drop: str = "", incomplete: float = 2) -> None:
    """The lab's image socket takes a series; the rest of its rules stay."""
    lab.configure(drop, incomplete=incomplete)
    lab.config.write_text(lab.config.read_text().replace('files = "*.mha"\nfallback = true', rule))


def stored(lab: Lab, title: str, socket: str = "ct-image") -> bytes:
    """What the platform was sent for one socket."""
    wanted = lab.values(title)[socket]["sha256"]
    (found,) = {one.path for one in lab.sandbox.state.images.values() if _sha256(one.path) == wanted}
    return found.read_bytes()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_pacs_export_becomes_one_image_in_order_with_the_same_pixels_and_no_name(lab: Lab) -> None:
    take_dicom(lab)
    folder = lab.desk / "P001"
    originals = series(folder / "IMAGES" / "SE1", 12)
    (folder / "REPORT").write_bytes(written(identifying.report()))
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    (folder / "score.json").write_bytes(b'{"score": 2.5}')
    folder.rename(lab.drop / "P001")
    assert lab.once() == 0, lab.log.read_text()
    _expect_only_records(lab)
    receipt = lab.wait_done("P001")
    data = stored(lab, "P001")
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        names = packed.namelist()
        slices = [dcmread(io.BytesIO(packed.read(name))) for name in names]
    assert names == [f"{number:05}.dcm" for number in range(1, 13)]
    pixels = {one.PixelData for one in slices}
    assert pixels == {dcmread(io.BytesIO(one)).PixelData for one in originals}
    assert [text for text in identifying.texts() if text in data] == []
    assert lab.values("P001")["ct-image"]["geometry"].size == (8, 8, 12)
    assert lab.values("P001")["ct-image"]["geometry"].voxel_mm == (0.8, 0.7, 2.5)
    (said,) = [one for one in receipt["sockets"] if one["socket"] == "ct-image"]
    (file,) = said["files"]
    assert (file["deidentify"], file["number"]) == ("grand-challenge", 12)
    done = {lab.done / path.relative_to(lab.desk): content for path, content in before.items()}
    assert {path: path.read_bytes() for path in done} == done
    assert not list((lab.state / "spool").iterdir())


def _expect_only_records(lab: Lab) -> None:
    """Nothing but the service speaks in its log."""
    for line in lab.log.read_text().splitlines():
        assert json.loads(line)["event"]


def test_a_service_whose_workers_hang_stops_soon_quietly_and_leaves_none_behind(lab: Lab) -> None:
    take_dicom(lab)
    series(lab.desk / "P001", 400)
    lab.start()
    assert lab.process is not None
    (lab.desk / "P001").rename(lab.drop / "P001")
    wait_for(lambda: any((lab.state / "spool").glob("*/making-*")), what="packing has begun")
    wait_for(partial(workers, lab.process.pid), what="workers have started")
    hung = workers(lab.process.pid)
    for pid in hung:
        os.kill(pid, signal.SIGSTOP)
    lab.process.terminate()
    assert lab.process.wait(SOON) == 0
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in hung), what="workers end")
    _expect_only_records(lab)
    assert lab.once() == 0
    assert lab.values("P001")["ct-image"]["geometry"].size == (8, 8, 400)


def test_a_missing_slice_waits_is_refused_and_the_folder_put_right_goes_through(lab: Lab) -> None:
    take_dicom(lab, incomplete=1)
    folder = lab.desk / "P001"
    series(folder, 6)
    (lost,) = [path for path in folder.iterdir() if dcmread(path).InstanceNumber == 4]
    lost.rename(lab.desk / lost.name)
    folder.rename(lab.drop / "P001")
    assert lab.once() == 1
    assert "slice 4 of 6" in lab.wait_failed("P001")
    assert lab.titles() == []
    (lab.desk / lost.name).rename(lab.failed / "P001" / lost.name)
    (lab.failed / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0
    assert lab.values("P001")["ct-image"]["geometry"].size == (8, 8, 6)


def test_a_class_the_platforms_procedure_does_not_know_goes_by_the_standards(lab: Lab) -> None:
    take_dicom(lab, 'dicom = { Modality = { not = "CT" } }')
    folder = lab.desk / "P001"
    folder.mkdir()
    (folder / "IM1").write_bytes(written(image(1, US, Modality="US")))
    shutil.copytree(folder, lab.drop / "P001")
    assert lab.once() == 1
    assert 'deidentify = "dicom-standard"' in lab.wait_failed("P001")
    take_dicom(lab, 'dicom = { Modality = { not = "CT" } }', 'deidentify = "dicom-standard"')
    lab.command("retry", "lung/P001")
    assert lab.once() == 1
    assert 'allow = ["burned-in"]' in lab.wait_failed("P001")
    lab.config.write_text(lab.config.read_text().replace('"CT" } }', '"CT" } }\nallow = ["burned-in"]'))
    lab.command("retry", "lung/P001")
    assert lab.once() == 0
    data = stored(lab, "P001")
    assert [text for text in identifying.texts() if text in data] == []


def test_a_service_killed_while_it_packs_or_sends_begins_no_second_image(lab: Lab) -> None:
    take_dicom(lab)
    series(lab.desk / "P001", 120)
    lab.start()
    (lab.desk / "P001").rename(lab.drop / "P001")
    spool = lab.state / "spool"
    wait_for(lambda: spool.is_dir() and any(spool.glob("*/*")), what="packing has begun")
    lab.kill()
    assert lab.process is not None
    lab.process.wait()
    posts = len([1 for method, _, _ in lab.sandbox.requests if method == "POST"])
    assert lab.once() == 0
    assert posts == 0 or lab.titles() == ["P001"]
    assert lab.values("P001")["ct-image"]["geometry"].size == (8, 8, 120)
    assert len(lab.sandbox.state.images) == 1
    assert not list(spool.iterdir())


def test_the_platform_is_sent_the_same_zip_after_a_restart_in_the_middle_of_an_upload(lab: Lab) -> None:
    take_dicom(lab)
    series(lab.desk / "P001", 5)
    lab.sandbox.faults.add(path="complete", status=503, times=1000)
    lab.start()
    (lab.desk / "P001").rename(lab.drop / "P001")
    wait_for(lambda: any("complete" in path for _, path, _ in lab.sandbox.requests), what="the part is sent")
    lab.kill()
    assert lab.process is not None
    lab.process.wait()
    shutil.rmtree(lab.state / "spool")
    lab.sandbox.faults.clear()
    assert lab.once() == 0
    assert sum(method == "PUT" for method, _, _ in lab.sandbox.requests) == 1
    assert lab.values("P001").keys() == {"ct-image"}


def test_identifiable_files_are_sent_only_where_a_lab_says_so_and_each_start_says_it(lab: Lab) -> None:
    take_dicom(lab, drop='deidentify = "send-identifiable"')
    series(lab.desk / "P001", 2)
    (lab.desk / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0
    assert "ATTENTION" in lab.log.read_text()
    assert b"Zwaardvis" in stored(lab, "P001")
    assert lab.command("check").count("ATTENTION drop") == 1


def test_a_dicom_image_set_is_sent_file_by_file_and_the_receipt_says_what_is_not_known(lab: Lab) -> None:
    lab.sandbox.add_socket("ct-set", "DICOM Image Set", "Image")
    take_dicom(lab)
    there = lab.config.read_text().replace('socket = "ct-image"', 'socket = "ct-set"')
    lab.config.write_text(there)
    assert "experimental = true" in lab.command("check", code=78)
    lab.config.write_text(
        there.replace(BY_HEADER, f"{BY_HEADER}\nexperimental = true").replace(
            "import_seconds = 60", "import_seconds = 1"
        )
    )
    series(lab.desk / "P001", 5)
    (lab.desk / "P001" / "score.json").write_bytes(b'{"score": 2.5}')
    (lab.desk / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0
    receipt = lab.wait_done("P001")
    assert receipt["not_confirmed"] == ["ct-set"]
    assert "accepted" in lab.command("ledger")
    assert lab.values("P001") == {"some-score": 2.5}
    sent = [one for one in lab.sandbox.state.uploads.values() if one.filename.endswith(".dcm")]
    assert sorted(one.filename for one in sent) == [f"{number:05}.dcm" for number in range(1, 6)]
    for one in sent:
        assert dcmread(one.whole).PatientIdentityRemoved == "YES"
        assert [text for text in identifying.texts() if text in one.whole.read_bytes()] == []


def test_a_zip_socket_takes_series_and_reports_as_they_are_packed(lab: Lab) -> None:
    lab.sandbox.add_socket("all-dicom", "ZIP file", "File")
    take_dicom(lab, drop='deidentify = "dicom-standard"')
    rule = '[[drops.sockets]]\nsocket = "all-dicom"\ndicom = { Modality = "SR" }\n'
    lab.config.write_text(lab.config.read_text() + rule)
    series(lab.desk / "P001", 3)
    report = identifying.report()
    (lab.desk / "P001" / "REPORT").write_bytes(written(report))
    (lab.desk / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0, lab.log.read_text()
    (said,) = [one for one in lab.wait_done("P001")["sockets"] if one["socket"] == "all-dicom"]
    assert lab.values("P001")["all-dicom"]["sha256"] == said["files"][0]["sha256"]
    for path in lab.sandbox.state.folder.iterdir():
        if path.is_file():
            assert [text for text in identifying.texts() if text in path.read_bytes()] == []


@pytest.fixture
def line(lab: Lab) -> Iterator[Proxy]:
    """All that leaves goes through it."""
    port = urlsplit(lab.sandbox.url).port
    assert port is not None
    with Proxy(port) as proxy:
        yield proxy


CANARY_FOLDERS = ("Zwaardvis Hendrika", "Zwaardvis_gap", "Zwaardvis_us", "Zwaardvis_value", "Zwaardvis_zip")


def drop_canaries(lab: Lab) -> None:
    """One folder that goes through, and folders that fail each for another reason."""
    good, gap, us, value, zipped = (lab.desk / name for name in CANARY_FOLDERS)
    series(good, 5)
    series(gap, 6)
    next(path for path in gap.iterdir() if dcmread(path).InstanceNumber == 3).unlink()
    us.mkdir()
    (us / "Zwaardvis.dcm").write_bytes(written(image(1, US)))
    series(value, 3)
    (value / "score.json").write_text(json.dumps({"score": "Zwaardvis"}))
    series(zipped, 3)
    with zipfile.ZipFile(zipped / "Zwaardvis.pdf", "w") as packed:
        packed.writestr("Zwaardvis.dcm", written(image(1, CT)))
    for name in CANARY_FOLDERS:
        (lab.desk / name).rename(lab.drop / name)


def test_no_identifying_text_leaves_or_is_kept_wherever_a_case_ends(lab: Lab, line: Proxy) -> None:
    key = lab.top / "pseudonyms.key"
    lab.command("keygen", str(key))
    take_dicom(lab, drop='title = "{pseudonym}"\nfolder = "Zwaardvis.*"', incomplete=1)
    there = lab.config.read_text().replace(lab.sandbox.url, f"http://127.0.0.1:{line.port}/api/v1/")
    lab.config.write_text(f'{there}\n[pseudonyms]\nkey_file = "{key}"\n')
    drop_canaries(lab)
    assert lab.once() == 1
    lab.start()
    wait_for(lambda: lab.report()["drops"], what="the status is written")
    lab.stop()
    done = {path.name for path in lab.done.iterdir() if path.is_dir()}
    failed = {path.name for path in lab.failed.iterdir() if path.is_dir()}
    assert (done, failed) == ({CANARY_FOLDERS[0]}, set(CANARY_FOLDERS[1:]))
    _expect_nothing_of_headers(lab)
    _expect_no_name_sent(lab, line)
    log = lab.log.read_bytes()
    assert b"Zwaardvis" not in log
    assert lab.token.read_bytes() not in log


def _expect_nothing_of_headers(lab: Lab) -> None:
    """Names of folders and files are the lab's own and stand in the journal and texts; headers nowhere."""
    words = [text for text in identifying.texts() if text not in {b"Zwaardvis", b"Hendrika"}]
    texts = [path for folder in (lab.done, lab.failed) for path in folder.iterdir() if path.is_file()]
    assert len([one for one in texts if not one.name.endswith(".receipt.txt")]) == len(CANARY_FOLDERS)
    kept = [path for path in lab.state.rglob("*") if path.is_file()]
    assert {path.name for path in kept} >= {"journal.sqlite", "ledger.jsonl", "status.json"}
    for path in (*texts, *kept, lab.log):
        content = path.read_bytes()
        assert [text for text in words if text in content] == [], path


def _expect_no_name_sent(lab: Lab, line: Proxy) -> None:
    sent = b"".join(line.sent)
    assert len(sent) > 5 * 128
    names = [name.encode() for name in CANARY_FOLDERS]
    names += [quote(name).encode() for name in CANARY_FOLDERS]
    assert [text for text in (*identifying.texts(), *names) if text in sent] == []
    for path in lab.sandbox.state.folder.iterdir():
        assert "Zwaardvis" not in path.name
        assert [text for text in identifying.texts() if text in path.read_bytes()] == []
