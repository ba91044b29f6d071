"""DICOM files as they are read, and as we write them: a head of our own, and each attribute by itself. Pure.

The head is preamble and file meta information (PS3.10, 7.1): nothing of the old ones goes along. Deflated is
written inflated, since another zlib would give other bytes.
"""

import io
import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, BinaryIO, cast

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.tag import BaseTag, SequenceDelimiterTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from casedrop.essence import PIXEL_TAGS
from casedrop.new_uids import IMPLEMENTATION_NAME, IMPLEMENTATION_UID

COMMANDS, META = 0x0000, 0x0002
"""Groups that stand in no data set (PS3.5, 7.1)."""

PREAMBLE = 128
BEGINNING = b"DICM\2\0\0\0UL"
"""Of a file with file meta information as it should be."""

ORDINARY = {ImplicitVRLittleEndian: True, ExplicitVRLittleEndian: False}
"""Transfer syntaxes of uncompressed little endian, and whether their value representations are implicit."""

Written = Mapping[int, Sequence[bytes]]
"""The bytes of attributes, in pieces, by their tags."""


class _ByTag(DicomIO):
    """Takes what pydicom writes, which begins each attribute of a data set with its tag."""

    def __init__(self, syntax: UID) -> None:
        super().__init__(io.BytesIO())
        self.is_implicit_VR, self.is_little_endian = syntax.is_implicit_VR, syntax.is_little_endian
        self.written: dict[int, list[bytes]] = {}

    def write_tag(self, tag: int) -> None:
        if tag != SequenceDelimiterTag:
            pieces = self.written[int(tag)] = []
            self.write = pieces.append  # type: ignore[assignment]
        super().write_tag(tag)


def read(file: BinaryIO, tags: list[BaseTag | int] | None = None, *, pixels: bool = True) -> Dataset:
    """What dcmread gives of a file from its beginning, in less time where the file is an ordinary one.

    `tags` are the only ones that are read, all of them unless given; without `pixels` the file stands before them.
    """
    file.seek(PREAMBLE)
    if file.read(len(BEGINNING)) == BEGINNING:
        file.seek(-6, io.SEEK_CUR)
        meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != META)
        implicit = ORDINARY.get(UID(str(meta.get("TransferSyntaxUID"))))
        group = file.read(2)
        file.seek(-len(group), io.SEEK_CUR)
        if implicit is not None and group not in (b"", b"\0\0"):
            stop = None if pixels else lambda tag, *_: tag in PIXEL_TAGS
            data = _data_set(file, implicit=implicit, little=True, stop_when=stop, specific_tags=tags)
            data.file_meta = FileMetaDataset(meta)
            return data
    file.seek(0)
    return dcmread(file, stop_before_pixels=not pixels, force=True, specific_tags=cast("Any", tags))


def of_the_file(syntax: UID) -> UID:
    """The transfer syntax that is written for this one."""
    return ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax


def written(dataset: Dataset, syntax: UID) -> Written:
    """Each attribute as pydicom writes it. Raises ValueError and what else pydicom does where it cannot."""
    if any(tag >> 16 in (COMMANDS, META) for tag in dataset.keys()):  # noqa: SIM118
        raise ValueError("a group that stands in no data set")
    if "PixelData" in dataset:  # PS3.5, A.4
        dataset["PixelData"].is_undefined_length = syntax.is_compressed
    out = _ByTag(of_the_file(syntax))
    write_dataset(out, dataset)
    return out.written


def head(dataset: Dataset, syntax: UID) -> bytes:
    """What stands before a data set. Raises AttributeError where it does not say what it is."""
    meta = b"".join(
        (
            struct.pack("<HH2sHLH", META, 1, b"OB", 0, 2, 0x0100),
            _meta(0x02, b"UI", _said(dataset.SOPClassUID)),
            _meta(0x03, b"UI", _said(dataset.SOPInstanceUID)),
            _meta(0x10, b"UI", of_the_file(syntax).encode()),
            _meta(0x12, b"UI", IMPLEMENTATION_UID.encode()),
            _meta(0x13, b"SH", IMPLEMENTATION_NAME.encode()),
        )
    )
    return bytes(128) + b"DICM" + _meta(0x00, b"UL", struct.pack("<L", len(meta))) + meta


def joined(begin: bytes, attributes: Written) -> bytes:
    """The file, in the order of tags (PS3.5, 7.1)."""
    return b"".join((begin, *chain.from_iterable(attributes[tag] for tag in sorted(attributes))))


def _data_set(file: BinaryIO, *, implicit: bool, little: bool, **how: Any) -> Dataset:
    """As dcmread leaves it: encoded as the file says, whatever it was read as; its character set is decoded."""
    data = read_dataset(file, implicit, little, **how)
    data.set_original_encoding(implicit, little)
    data.get("SpecificCharacterSet")
    return data


def _said(uid: Any) -> bytes:
    if not isinstance(uid, UID) or not uid:
        raise AttributeError("a UID that is none")
    return uid.encode("latin-1")


def _meta(number: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", META, number, vr, len(value)) + value
