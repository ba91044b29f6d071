"""The bytes of one DICOM file in, the bytes that may leave out, by the drop's procedure. Pure.

What comes back in words never holds what a header says: values may name a patient. Importing this takes a
moment and memory, so it is done in the worker processes only.
"""

import io
import re

from grand_challenge_dicom_de_identifier.deidentifier import DicomDeidentifier
from grand_challenge_dicom_de_identifier.exceptions import RejectedDICOMFileError
from pydicom import Dataset, dcmread
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from casedrop import annex_e
from casedrop.dicom_file import head, joined, read, written
from casedrop.done_before import expect_done
from casedrop.errors import CaseProblem
from casedrop.essence import (
    PIXEL_TAGS,
    Losses,
    Values,
    as_slice,
    changed,
    essence,
    losses,
    remove_private,
    straighten,
    values,
    values_of,
)
from casedrop.in_common import (
    LOOKED_AT,
    InCommon,
    Series,
    attributes,
    essence_in,
    said_in,
    same,
    texts_in,
    values_in,
    without,
)
from casedrop.last_look import named_in, refuse_bytes, refuse_words, without_pixels, words_of_patient
from casedrop.model import Problem, Procedure
from casedrop.near import several
from casedrop.new_uids import NewUids, is_of_the_standard
from casedrop.pixel_comments import refuse_comments
from casedrop.slices import Deidentified

OFTEN_BURNED_IN = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(3(\.1)?|6(\.[12])?|7(\.[1-4])?|77\.1)")
"""Ultrasound and secondary capture: names stand in the picture unless BurnedInAnnotation says NO."""
NO_DICOM = Problem("not-dicom", "{file} is no DICOM image.")
CUT_OFF = Problem("cut-off", "{file} ends before its pixels do: it was not copied whole. Copy it again.")

NAMES = {"SOPInstanceUID": 0x00080018, "SOPClassUID": 0x00080016}

TWO_PIXELS = Problem(
    "not-deidentified",
    "{file} holds pixels twice, in several attributes, and nobody can tell which are meant, so nothing of it is "
    "sent. Export it anew.",
)


def deidentify(
    data: bytes, procedure: Procedure, key: bytes, *, alone: bool, in_common: InCommon | None = None
) -> Deidentified | Problem:
    """De-identify one file, or say in words without any value why not.

    `key` derives new UIDs from the old ones; `alone` tells that the image has no other file; `in_common` is what
    is kept in mind from file to file, and changes nothing but the time that it takes. The same arguments give the
    same bytes. Raises MemoryError, which says nothing of the file.

    "already-done" sends the attributes unchanged, under a preamble and file meta information of our own, where
    they say PatientIdentityRemoved = YES and nothing identifying is found: the attributes of IDENTIFYING and every
    name of a person (PN) are empty or match a pattern, however deep they stand; so do private attributes that
    hold text (LO, LT, SH, ST, UC, UT, and UN that reads as text), creators that pydicom does not know, and
    DataSetTrailingPadding; the compressed pixels carry no comment; and nothing says that writing is burned in.
    Descriptions, dates, names of devices and UIDs are not looked at. What stands twice, or behind the last
    attribute, nobody can look at: since the file is written anew, it does not go along.
    """
    try:
        return _deidentify(data, procedure, key, alone=alone, in_common=in_common or InCommon())
    except CaseProblem as no:
        return no.problems[0]
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  libraries quote values in what they raise
        return Problem(
            "not-deidentified",
            f"{{file}} could not be read and de-identified as DICOM ({type(error).__name__}), so nothing of it is "
            "sent. Check that it opens in a viewer, and export it anew.",
        )


def _deidentify(
    data: bytes, procedure: Procedure, key: bytes, *, alone: bool, in_common: InCommon
) -> Deidentified:
    dataset = read(io.BytesIO(data))
    if "SOPClassUID" not in dataset:
        raise CaseProblem(CUT_OFF if "MediaStorageSOPClassUID" in dataset.file_meta else NO_DICOM)
    syntax = _transfer_syntax(dataset)
    if procedure.name == "send-identifiable":
        _expect_whole(dataset, syntax, procedure)
        sent_as_is = as_slice(essence(dataset))
        return Deidentified(data, sent_as_is, "sent as it was, with what identifies the patient")
    _expect_one_name(dataset)
    if procedure.name == "already-done":
        _sound_values(dataset, syntax, procedure)
        expect_done(dataset, procedure)
        return _unchanged(data, syntax)
    series = in_common.of(dataset, procedure, key, syntax)
    return _by_procedure(dataset, procedure, key, alone=alone, series=series)


def _by_procedure(
    dataset: Dataset, procedure: Procedure, key: bytes, *, alone: bool, series: Series
) -> Deidentified:
    """What is known of the series is not looked at again; what is to be sent is, whole, as of a file alone."""
    syntax = _transfer_syntax(dataset)
    known = same(dataset, series.before)
    own = without(dataset, known.keys() - LOOKED_AT)
    said, stood = said_in(own), _sound_values(own, syntax, procedure)
    for tag in known.keys() & LOOKED_AT:
        del own[tag]
    before, names = essence(own), named_in(own)
    method = _apply(own, procedure, key)
    source = attributes(said, stood, before, names, written(own, syntax)) | known
    stood, before, wanted = values_in(source), essence_in(source), words_of_patient(texts_in(source))
    sent = joined(head(own, syntax), {tag: one.sent for tag, one in source.items()})
    after = read(io.BytesIO(sent))
    _straighten(after)
    rest, stands, kept = without_pixels(sent, after), values(after), essence(after)
    refuse_words(after, wanted, procedure)
    refuse_bytes(rest, wanted, stood, stands, procedure)
    alone = alone or ("ImagePositionPatient",) not in before
    _expect_same_image(losses(before, kept, alone=alone), procedure)
    series.keep(source)
    return Deidentified(sent, as_slice(kept), method, changed(stood, stands))


def _sound_values(dataset: Dataset, syntax: UID, procedure: Procedure) -> Values:
    """Of a data set that was just read, where nothing speaks against sending it."""
    _straighten(dataset)
    stood = values(dataset)
    _expect_whole(dataset, syntax, procedure)
    _refuse_burned_in(dataset, procedure)
    refuse_comments(dataset, syntax, procedure)
    return stood


def _unchanged(data: bytes, syntax: UID) -> Deidentified:
    """Read anew: what was decoded to look at it may be written another way."""
    dataset = dcmread(io.BytesIO(data), force=True)
    _straighten(dataset)
    stood = values(dataset)
    sent = joined(head(dataset, syntax), written(dataset, syntax))
    after = dcmread(io.BytesIO(sent))
    _straighten(after)
    odd, before = changed(stood, values(after)), essence(dataset)
    if odd or essence(after) != before:
        raise CaseProblem(
            Problem(
                "not-deidentified",
                f"{{file}} cannot be written as it stands ({several(odd) or 'its image'} would change), so "
                "nothing of it is sent. Export it anew.",
            )
        )
    return Deidentified(sent, as_slice(before), "de-identified before, attributes sent as they were")


def _transfer_syntax(dataset: Dataset) -> UID:
    """As the file says or, without file meta information, as its first element was read."""
    said = dataset.file_meta.get("TransferSyntaxUID")
    if said:
        return UID(said)
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _expect_one_name(dataset: Dataset) -> None:
    """The head that is written names the image and its class, each by the one UID that it has (PS3.3, C.12.1).

    Nothing is decoded: see `values`.
    """
    odd = [
        name for name, tag in NAMES.items() if tag not in dataset or not _is_one(dataset.get_item(tag).value)
    ]
    if odd:
        raise CaseProblem(
            Problem(
                "not-deidentified",
                f"{{file}} must have one {several(odd)} and has none or several, so nobody can tell which image "
                "it is, and nothing of it is sent. Export it anew.",
            )
        )


def _is_one(value: object) -> bool:
    """Whether it may be one UID, as it was read; odd forms are others' to judge."""
    uid = value or b""
    return not isinstance(uid, bytes) or (b"\\" not in uid and uid.strip(b" \0") != b"")


def _expect_whole(dataset: Dataset, syntax: UID, procedure: Procedure) -> None:
    """Pixels that are not compressed have a length that the header tells; what has none is no image."""
    if "Rows" not in dataset:
        return
    pixels = PIXEL_TAGS & set(dataset.keys())
    if len(pixels) > 1:
        raise CaseProblem(TWO_PIXELS)
    if not pixels:
        raise CaseProblem(CUT_OFF)
    may_be_short, may_be_long = "cut-off" in procedure.allow, procedure.name == "send-identifiable"
    if syntax.is_compressed or "PixelData" not in dataset or (may_be_short and may_be_long):
        return
    length, said = len(dataset.PixelData), get_expected_length(dataset)
    if length < said and not may_be_short:
        raise CaseProblem(CUT_OFF)
    if not may_be_long:
        _expect_nothing_behind(dataset.PixelData, said)


def _expect_nothing_behind(pixels: bytes, length: int) -> None:
    """At most the byte that makes their length even (PS3.5, 8.1.1), or zeros."""
    if pixels[length + 1 :].strip(b"\0"):
        raise CaseProblem(
            Problem(
                "not-deidentified",
                "{file} holds something behind its pixels, which nobody can tell what it is, so nothing of it is "
                "sent. Export it anew.",
            )
        )


def _straighten(dataset: Dataset) -> None:
    odd = sorted(straighten(dataset))
    if odd:
        raise CaseProblem(
            Problem(
                "not-deidentified",
                f"{{file}} holds {several(odd)} in a form that the standard does not know, so nobody can tell "
                "what stands there, and nothing of it is sent. Export it anew.",
            )
        )


def _refuse_burned_in(dataset: Dataset, procedure: Procedure) -> None:
    if "burned-in" not in procedure.allow and (why := _burned_in(dataset, procedure)):
        raise CaseProblem(
            Problem(
                "burned-in",
                f"{{files}} {why}. De-identifying cannot take out what is written in a picture. Where somebody "
                'has seen that it names nobody, the data manager can set allow = ["burned-in"].',
            )
        )


def _burned_in(dataset: Dataset, procedure: Procedure) -> str:
    """Why writing is to be feared in the picture, "" where it is not. Labels of slides: PS3.3, C.8.12.4 and 8."""
    labelled = str(dataset.get("SpecimenLabelInImage") or "").strip().upper()
    kinds = {str(one).strip().upper() for one in values_of(dataset.get("ImageType"))}
    if labelled == "YES" or "LABEL" in kinds or ("OVERVIEW" in kinds and labelled != "NO"):
        return "show the label of a slide, or may show it (ImageType, SpecimenLabelInImage)"
    said = str(dataset.get("BurnedInAnnotation") or "").strip().upper()
    if "SCREEN SAVE" in kinds and said != "NO":
        return "are pictures of a screen (ImageType), on which names often stand"
    if said == "YES":
        return "say that writing is burned into the picture (BurnedInAnnotation)"
    if (
        said == "NO"
        or procedure.name == "already-done"
        or not OFTEN_BURNED_IN.fullmatch(str(dataset.SOPClassUID))
    ):
        return ""
    return (
        f"are {_class_name(dataset)}: writing is often burned into such pictures, and these do not say that there "
        "is none (BurnedInAnnotation)"
    )


def _apply(dataset: Dataset, procedure: Procedure, key: bytes) -> str:
    """De-identify in place; by what, in words."""
    standard = procedure.name == "dicom-standard"
    remove_private(dataset)
    if standard or not dataset.get("DeidentificationMethod", "x"):
        dataset.pop("DeidentificationMethod", None)
    engine = DicomDeidentifier(annex_e.procedure(procedure.options) if standard else None)
    engine.uid_map = NewUids(key)
    try:
        engine.deidentify_dataset(dataset)
    except RejectedDICOMFileError:
        raise CaseProblem(_rejected(dataset)) from None
    if not standard:
        return f"procedure of Grand Challenge, {engine.procedure['version']}"
    _say_method(dataset, procedure)
    return annex_e.method(procedure.options)


def _rejected(dataset: Dataset) -> Problem:
    return Problem(
        "unsupported-class",
        f"{{files}} are {_class_name(dataset)}, which Grand Challenge's own procedure does not de-identify (it "
        "knows CT Image, MR Image and VL Whole Slide Microscopy Image). The data manager can set deidentify = "
        '"dicom-standard" for this drop or, where files are de-identified before they come, "already-done".',
    )


def _class_name(dataset: Dataset) -> str:
    """Only a name of the standard: a UID of somebody's own is not repeated."""
    uid = UID(dataset.SOPClassUID)
    return uid.name if is_of_the_standard(uid) else "of a class that is not the standard's"


def _say_method(dataset: Dataset, procedure: Procedure) -> None:
    """PS3.15 E.1.1 and PS3.3 C.7.1.1: what was applied, in words and in codes of CID 7050."""
    codes = [annex_e.BASIC, *(annex_e.CODES[option] for option in procedure.options)]
    dataset.DeidentificationMethod = ["Casedrop", *map(annex_e.in_words, codes)]
    dataset.DeidentificationMethodCodeSequence = [_code(*one) for one in codes]
    dataset.PatientIdentityRemoved = "YES"
    kept = "retain-full-dates" in procedure.options
    dataset.LongitudinalTemporalInformationModified = "UNMODIFIED" if kept else "REMOVED"


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _expect_same_image(lost: Losses, procedure: Procedure) -> None:
    if lost.shape:
        text = f"De-identifying {{files}} changed {several(lost.shape)}, so it would be another image."
        raise CaseProblem(Problem("image-changed", text))
    for names, allowed, what in (
        (lost.size, "changed-size", "another size or place"),
        (lost.values, "changed-values", "other voxel values"),
    ):
        if names and allowed not in procedure.allow:
            raise CaseProblem(_changes(names, allowed, what, procedure))


def _changes(names: tuple[str, ...], allowed: str, what: str, procedure: Procedure) -> Problem:
    other = "" if procedure.name == "dicom-standard" else 'deidentify = "dicom-standard", which keeps it, or '
    return Problem(
        allowed,
        f'De-identifying {{files}} by "{procedure.name}" takes {several(names)} away, so the image on Grand '
        f"Challenge would have {what} than here. The data manager can set {other}allow = "
        f'["{allowed}"].',
    )
