"""The Basic Application Level Confidentiality Profile (PS3.15, Annex E) as a procedure. Pure.

The table (E.1-1, edition 2026c) comes from the package dicom-anonymizer; the columns of the options, which it
does not carry, stand here. They are applied by the engine of grand-challenge-dicom-de-identifier, which, unlike
dicom-anonymizer's own, goes into nested sequences. Beyond the table: what PS3.6 does not know, private
attributes, overlays, curves and unlisted texts that do not tell of the image itself are removed; every other UID
that is not of the standard is replaced (but not that of a class: it says what kind of image this is), and so is
every other person's name.
"""

from functools import cache
from typing import Any

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table
from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword

from casedrop.essence import WANTED_TAGS

EDITION = "2026c"

BASIC = ("113100", "Basic Application Confidentiality Profile")
CODES = {
    "retain-full-dates": ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    "retain-patient-characteristics": ("113108", "Retain Patient Characteristics Option"),
    "retain-device-identity": ("113109", "Retain Device Identity Option"),
    "retain-uids": ("113110", "Retain UIDs Option"),
    "retain-institution-identity": ("113112", "Retain Institution Identity Option"),
}
"""Code values and meanings of scheme DCM (PS3.16, CID 7050)."""

ACTIONS = {
    "D_TAGS": "D",
    "Z_TAGS": "Z",
    "X_TAGS": "X",
    "U_TAGS": "U",
    "Z_D_TAGS": "D",
    "X_Z_TAGS": "Z",
    "X_D_TAGS": "D",
    "X_Z_D_TAGS": "D",
    "X_Z_U_STAR_TAGS": "K",
}
"""Where the table leaves a choice, what keeps the object valid whatever its class is. References to images
(X/Z/U*) are kept as sequences, and the UIDs in them replaced."""

RETAINED = {
    "retain-device-identity": (
        "BeamHoldTransitionDateTime CalibrationDate CalibrationDateTime CalibrationTime CassetteID "
        "DateOfInstallation DateOfLastCalibration DateOfLastDetectorCalibration DateOfManufacture "
        "DateTimeOfLastCalibration DetectorID DeviceDescription DeviceLabel DeviceSerialNumber DeviceUID "
        "GantryID GeneratorID LensMake LensModel LensSerialNumber LensSpecification ManufacturerDeviceClassUID "
        "ManufacturerDeviceIdentifier ModifyingDeviceID ModifyingSystem "
        "PerformedStationGeographicLocationCodeSequence PerformedStationName "
        "PerformedStationNameCodeSequence PlateID ScheduledProcedureStepLocation "
        "ScheduledStationGeographicLocationCodeSequence ScheduledStationName "
        "ScheduledStationNameCodeSequence ScheduledStudyLocation SourceManufacturer SourceSerialNumber "
        "StationName TimeOfLastCalibration TimeOfLastDetectorCalibration TransducerIdentificationSequence "
        "TreatmentMachineName UDISequence UniqueDeviceIdentifier XRayDetectorID XRayDetectorLabel XRaySourceID"
    ),
    "retain-institution-identity": (
        "ClinicalTrialCoordinatingCenterName ClinicalTrialProtocolEthicsCommitteeName ClinicalTrialSiteID "
        "ClinicalTrialSiteName InstitutionAddress InstitutionalDepartmentName "
        "InstitutionalDepartmentTypeCodeSequence InstitutionCodeSequence InstitutionName SourceOfPreviousValues"
    ),
    "retain-patient-characteristics": (
        "EthnicGroup PatientAge PatientSex PatientSexNeutered PatientSize PatientWeight PregnancyStatus "
        "SelectorASValue SmokingStatus"
    ),
    "retain-full-dates": "TimezoneOffsetFromUTC",
}
"""What an option keeps (the K of its column); what it would only clean (C) is treated as without it."""

TIMES_NOT_RETAINED = frozenset({"PatientBirthDate", "PatientBirthTime", "GPSTimeStamp", "GPSDateStamp"})


class _Actions(dict[str, dict[str, str]]):
    """Tag as the engine writes it, "(0010,0010)", to action; also for what the table does not list."""

    def __missing__(self, tag: str) -> dict[str, str]:
        action = self[tag] = {"default": _unlisted(int(tag[1:5] + tag[6:10], 16), self.unlisted_uid)}
        return action

    unlisted_uid = "U"


class _AnyClass(dict[str, Any]):
    """The same actions whatever the SOP class."""

    def __init__(self, actions: _Actions) -> None:
        super().__init__()
        self._answer = {"default": "X", "tag": actions}

    def __getitem__(self, sop_class: str) -> Any:
        return self._answer


@cache
def procedure(options: tuple[str, ...]) -> dict[str, Any]:
    """The profile with these options, as the engine takes it."""
    actions = _Actions()
    for name, action in ACTIONS.items():
        for tag in getattr(table, name):
            if len(tag) == 2:  # noqa: PLR2004  four numbers are a range of groups: removed unlisted
                number = tag[0] << 16 | tag[1]
                actions[_written(number)] = {"default": _action(number, action, options)}
    if "retain-uids" in options:
        actions.unlisted_uid = "K"
    for option in options:
        for keyword in RETAINED.get(option, "").split():
            actions[_written(tag_for_keyword(keyword) or 0)] = {"default": "K"}
    return {"version": EDITION, "sopClass": _AnyClass(actions)}


def method(options: tuple[str, ...]) -> str:
    return " + ".join((f"PS3.15 Annex E Basic Profile {EDITION}", *options))


def _action(tag: int, action: str, options: tuple[str, ...]) -> str:
    """A sequence that may be removed is: filled with dummies it would say nothing either."""
    vr = _vr(tag)
    if vr == "SQ" and tag in _REMOVABLE:
        return "X"
    if vr == "UI" and "retain-uids" in options:
        return "K"
    if vr in ("DA", "TM", "DT") and "retain-full-dates" in options and tag not in _NEVER_RETAINED:
        return "K"
    return action


def _unlisted(tag: int, uid: str) -> str:
    group = tag >> 16
    if group % 2 or group < 8 or group >> 8 in (0x50, 0x60) or not dictionary_has_tag(tag):  # noqa: PLR2004
        return "X"
    if tag in _CLASSES:
        return "K"
    vr = _vr(tag)
    taken = vr in _TAKEN or (vr in _SHORT_TEXTS and group not in ABOUT_IMAGES) or group == PATIENT
    if taken and tag not in WANTED_TAGS:
        return "X"
    return {"UI": uid, "PN": "Z"}.get(vr, "K")


def _vr(tag: int) -> str:
    return dictionary_VR(tag) if dictionary_has_tag(tag) else ""


def _written(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


_REMOVABLE = {
    tag[0] << 16 | tag[1] for name in ("X_Z_TAGS", "X_D_TAGS", "X_Z_D_TAGS") for tag in getattr(table, name)
}
PATIENT = 0x0010
"""The group of what says who the patient is (PS3.6, 6)."""
ABOUT_IMAGES = frozenset({
    0x0008, 0x0018, 0x0020, 0x0022, 0x0028, 0x0048, 0x0052, 0x0054, 0x0062, 0x0066, 0x0068, 0x300A, 0x300C,
})  # fmt: skip
"""Groups in which short texts say what the image is and how it was made (PS3.6, 6); elsewhere they are of orders,
visits, worklists, prints and trials."""
_SHORT_TEXTS = frozenset({"LO", "SH"})
_TAKEN = frozenset({"DA", "DT", "TM", "UR", "LT", "ST", "UT", "UC", "OB", "OW", "OB or OW", "UN"})
"""What the table does not list and can hold anything: times, addresses, long texts and bytes."""
_CLASSES = {tag_for_keyword(keyword) for keyword in ("SOPClassUID", "ReferencedSOPClassUID")}
_NEVER_RETAINED = {tag_for_keyword(keyword) for keyword in TIMES_NOT_RETAINED}


def in_words(code: tuple[str, str]) -> str:
    """Value and meaning, as long as DeidentificationMethod may be (PS3.5, 6.2: LO)."""
    return " ".join(code)[:64]
