"""Every reason that Casedrop gives, by its word: what it means, who acts, and what to do. Pure.

The one place: a reason beside a folder and docs/REASONS.md are both made of it.
"""

import textwrap
from dataclasses import dataclass
from enum import StrEnum

PAGE = "docs/REASONS.md"


class Who(StrEnum):
    RESEARCHER = "whoever copied the folder"
    DATA_MANAGER = "the data manager"
    ADMINISTRATOR = "the administrator"
    EDITORS = "the editors of the reader study or archive"


@dataclass(frozen=True, slots=True)
class Entry:
    """`heading` is a few words, `means` and `cure` whole sentences; () acts where there is nothing to do."""

    word: str
    heading: str
    means: str
    who: tuple[Who, ...]
    cure: str

    @property
    def acts(self) -> str:
        return " or ".join(self.who) or "nobody has to"


_COPY, _RULES, _SERVER, _STUDY = Who
_ENTRIES = (
    Entry(
        "already-held",
        "The display set already holds something else",
        "The display set of this title is finished. The folder brings other contents for sockets that it "
        "holds, and this drop only adds what a display set lacks.",
        (_COPY, _RULES),
        "Take out the files that are there already. If they are to replace what is there, the data manager "
        'can set existing_display_set = "replace".',
    ),
    Entry(
        "archive",
        "An archive that cannot be looked into",
        "A rule takes a zip, gzip or tar that is broken, encrypted or of an unusual kind. It could hold DICOM "
        "with a patient's name, so it is not sent.",
        (_COPY,),
        "Unpack it into the folder, or pack it anew as a plain zip.",
    ),
    Entry(
        "bad-json",
        "A JSON file that cannot be read",
        "A file that is to be sent as JSON is no valid JSON, is not UTF-8, or is cut off.",
        (_COPY,),
        "Save or copy the file again.",
    ),
    Entry(
        "bad-order",
        "No place in the reader study",
        "The drop gives each display set a place in its reader study, and what it is made of is no whole "
        "number of the range that is named.",
        (_COPY, _RULES),
        "Put the number right in the folder's name, or in the table it comes from.",
    ),
    Entry(
        "bad-row",
        "A row of a table that cannot be used",
        "The folder's row in a table of the lab has more cells than there are columns, a formula without its "
        "result, or something else that cannot be read.",
        (_RULES,),
        "Put the row right in the table, and save it.",
    ),
    Entry(
        "bad-table",
        "A table that cannot be used",
        "A table that lies in the folder cannot be read, or lacks a column that the rules name.",
        (_COPY, _RULES),
        "Save the table again with all its columns. If its columns are meant to be as they are, the data "
        "manager changes the rules.",
    ),
    Entry(
        "bad-title",
        "No title can be made of the folder's name",
        "The title of the display set would be empty or too long, or hold characters that Grand Challenge "
        "does not keep.",
        (_COPY,),
        "Rename the folder. Where the title comes out of a table, the data manager puts it right there.",
    ),
    Entry(
        "bad-value",
        "A value that does not fit its socket",
        "What a file, a table or the folder's name holds cannot be read as the kind of value that the socket "
        "takes, such as a number.",
        (_COPY, _RULES),
        "Put the value right where it comes from. A number has the decimal point that the rules say.",
    ),
    Entry(
        "burned-in",
        "Text may be burned into the picture",
        "The DICOM header says that something is written in the pixels, or the file is the picture of a "
        "slide's label. That may be the patient's name, and de-identifying cannot take it out.",
        (_RULES,),
        'Look at the images. If nothing in them names anybody, set allow = ["burned-in"].',
    ),
    Entry(
        "changed-after-upload",
        "The folder was changed after it was sent",
        "Everything was sent and confirmed, and then something in the folder changed. What lies here is not "
        "what Grand Challenge holds.",
        (_COPY,),
        "Move the folder back into drop/ to send it again, or undo the change first.",
    ),
    Entry(
        "changed-size",
        "De-identifying would change the image's size or place",
        "The procedure takes away attributes that tell how large the image is or where it lies, such as a "
        "single slice's thickness. On Grand Challenge it would be another image than here.",
        (_RULES,),
        'Set deidentify = "dicom-standard", which keeps them, or allow = ["changed-size"].',
    ),
    Entry(
        "changed-values",
        "De-identifying would change what voxels mean",
        "The procedure takes away attributes that tell what the voxel values mean, such as an MR's rescale "
        "slope. On Grand Challenge the image would have other values than here.",
        (_RULES,),
        'Set deidentify = "dicom-standard", which keeps them, or allow = ["changed-values"].',
    ),
    Entry(
        "closed",
        "Readers have answered already",
        "The display set has answers of readers, or ground truth, so Grand Challenge does not let it be "
        "changed.",
        (_STUDY,),
        "Remove the answers first, if the display set is to be changed; else leave the folder out.",
    ),
    Entry(
        "code-twice",
        "Two folders have one code",
        "The table of codes gives this folder's code to another folder too.",
        (_RULES,),
        "Give each folder a code of its own in the table.",
    ),
    Entry(
        "cut-off",
        "A file is not whole",
        "A file ends before its data does, as after a copy that was broken off.",
        (_COPY,),
        "Copy the file again, and wait until the copy is through.",
    ),
    Entry(
        "damaged",
        "A file is damaged",
        "A packed file does not have its own checksum, or cannot be unpacked.",
        (_COPY,),
        "Copy it again; if it stays damaged, save it anew from where it comes from.",
    ),
    Entry(
        "deleted",
        "The display set is gone",
        "The display set of this folder is no longer on Grand Challenge, or hidden from Casedrop's user, and "
        "the folder was moved out of drop/.",
        (_COPY, _STUDY),
        "If it was deleted on purpose, leave it at that. Else move the folder back into drop/, and ask the "
        "editors.",
    ),
    Entry(
        "dicom",
        "DICOM where it cannot be de-identified",
        "A rule takes DICOM for a file, a value or an archive. It would leave with the patient's name in it, "
        "so it is not sent.",
        (_COPY, _RULES),
        "Unpack what is packed, or take the file out. If it is to be sent, the data manager writes a rule "
        "with dicom for an image socket.",
    ),
    Entry(
        "dicom-object",
        "DICOM without an image",
        "Reports, presentation states, plans and the like are no images, and are left out.",
        (),
        "Nothing; the rest of the folder is sent.",
    ),
    Entry(
        "empty-cell",
        "A cell of a table is empty",
        "The folder's row in a table of the lab has nothing in a column that is needed.",
        (_RULES,),
        "Fill in the cell, and save the table.",
    ),
    Entry(
        "empty-file",
        "A file is empty",
        "A file that is to be sent has 0 bytes, as after a copy that was broken off.",
        (_COPY,),
        "Copy the file again.",
    ),
    Entry(
        "extra-socket",
        "The display set holds more than the folder",
        "The unfinished display set of this folder already holds something for which the folder has nothing "
        "any more. Casedrop removes nothing from Grand Challenge.",
        (_COPY, _STUDY),
        "Put the missing file back into the folder, or have an editor remove that value.",
    ),
    Entry(
        "file-differs",
        "Grand Challenge holds another file",
        "The file that Grand Challenge gives back is not byte for byte the one that was sent.",
        (_COPY, _STUDY),
        "Move the folder back into drop/ to send it again. If it happens twice, ask the editors who else "
        "changes the display set.",
    ),
    Entry(
        "file-format",
        "A file is not what its name says",
        "The file begins as one of another format than its extension says.",
        (_COPY,),
        "Save it in that format, or give it the extension of the format it is in.",
    ),
    Entry(
        "file-missing",
        "Grand Challenge never showed a file",
        "A file was sent and accepted, but it never came to the display set. Grand Challenge gives no reason; "
        "a file that does not fit its socket vanishes this way.",
        (_COPY, _STUDY),
        "Look at what the file holds, and whether it is what the socket takes (for JSON: its schema).",
    ),
    Entry(
        "file-too-large",
        "A DICOM file is too large for this machine",
        "The machine's memory must hold a file several times to de-identify it, and has too little for this "
        "one.",
        (_COPY, _SERVER),
        "Export it in smaller files, or have the machine given more memory.",
    ),
    Entry(
        "filed-before",
        "Folders that were filed before",
        "The folder holds folders that Casedrop has filed: it is probably done/ or failed/ itself, dragged "
        "into drop/.",
        (_COPY,),
        "Put it back where it was. Only single failed folders are moved into drop/ again.",
    ),
    Entry(
        "folder-name",
        "The folder's name does not fit",
        "The name lacks what the display set's title is made of, or is not one of those that the drop takes.",
        (_COPY, _RULES),
        "Rename the folder. If its name is right, the data manager changes the drop's folder or title.",
    ),
    Entry(
        "folder-value",
        "The folder's name has no value for a socket",
        "A socket takes its value out of the folder's name, and the name does not fit the pattern.",
        (_COPY, _RULES),
        "Rename the folder. If its name is right, the data manager changes the pattern.",
    ),
    Entry(
        "half-copied",
        "A copy was not finished",
        "A file has the name that programs give to what they are still copying.",
        (_COPY,),
        "Copy again what it was to be, and remove what the broken copy left.",
    ),
    Entry(
        "identifier",
        "The title or a value names the patient",
        "The title or a plain value holds what the DICOM headers have as the patient's name, number or birth "
        "date. Readers would see it, so nothing was sent.",
        (_COPY, _RULES),
        "Rename the folder, or change the value. If that text names nobody, the data manager can take the "
        "attribute out of identifier_check.",
    ),
    Entry(
        "image-changed",
        "De-identifying would change the image",
        "After de-identifying the pixels, the frames or the geometry would not be the same. This cannot be "
        "allowed.",
        (_COPY, _RULES),
        "Export the series anew. If it stays so, the data manager tries another deidentify.",
    ),
    Entry(
        "image-differs",
        "Grand Challenge holds another image",
        "The image on Grand Challenge has another size or voxel size than the file here.",
        (_COPY, _STUDY),
        "Check that the file opens in a viewer with the size you expect. If it does, ask the editors whether "
        "somebody else changed the display set.",
    ),
    Entry(
        "image-missing",
        "Grand Challenge did not take the image in time",
        "The image was sent and accepted, but does not stand in the display set.",
        (_COPY, _SERVER),
        "Move the folder back into drop/ to try again. If it happens twice, check that the file opens in a "
        "viewer, and tell the administrator.",
    ),
    Entry(
        "import-failed",
        "Grand Challenge could not use the image",
        "Grand Challenge tried to read the file as an image, and said why it could not.",
        (_COPY,),
        "Check that the file opens in a viewer, and replace it by one that does.",
    ),
    Entry(
        "label",
        "A picture of a slide's label",
        "A picture that shows the whole slide with its label may name the patient, and is left out.",
        (),
        "Nothing; the slide is sent without it.",
    ),
    Entry(
        "left-behind",
        "An unfinished display set is left behind",
        "A display set was begun for a part that the folder has no more. It is incomplete, and readers can "
        "see it.",
        (_STUDY, _COPY),
        "Delete the display set on Grand Challenge, or give the part its former name back. Then move the "
        "folder into drop/ again.",
    ),
    Entry(
        "metadata",
        "An image file may name somebody",
        "Beside the image the file holds texts, dates or pictures that may name somebody, or it is built in a "
        "way in which nobody can tell. As a note: it was sent without them, or is allowed here.",
        (_COPY, _RULES),
        'Save the file without them. The data manager can set metadata = "strip", which sends a copy without '
        'them, or metadata = "send" where somebody has seen that they name nobody.',
    ),
    Entry(
        "mhd-header",
        "An .mhd that names no data file",
        "The header does not name one data file of its own folder.",
        (_COPY,),
        "Save the image as one .mha file.",
    ),
    Entry(
        "missing-file",
        "A required file is missing",
        "Nothing in the folder fits a socket, or a table, that must be there.",
        (_COPY, _RULES),
        "Put the file into the folder, or give it the name that the rule asks for. If folders without it are "
        "right, the data manager sets required = false for the socket.",
    ),
    Entry(
        "missing-raw",
        "The data of an image is missing",
        "A file names others that hold the image's data, and they are not there.",
        (_COPY,),
        "Copy all files of the image, with their folder, under the names they had.",
    ),
    Entry(
        "missing-series",
        "A required series is missing",
        "No DICOM series in the folder is what a socket takes.",
        (_COPY, _RULES),
        "Copy the missing series. If the right one is there, the data manager changes the rule; `casedrop "
        "plan` shows what each series says.",
    ),
    Entry(
        "missing-slices",
        "Slices are missing or doubled",
        "The places or numbers of the slices have gaps, or something is there twice.",
        (_COPY, _RULES),
        "Copy or export the series again, and take out extra copies. If it was made so, the data manager can "
        'set allow = ["missing-slices"].',
    ),
    Entry(
        "mixed-geometry",
        "The series is not one image",
        "Its files differ in size, orientation, spacing or place, so they do not make one volume.",
        (_COPY, _RULES),
        "Take out what does not belong (often scouts or reconstructions). If it was made so, the data manager "
        'can set allow = ["mixed-geometry"].',
    ),
    Entry(
        "more-data",
        "A file is longer than its image",
        "Behind the voxels that the header speaks of stand more bytes. Readers pass over them.",
        (),
        "Nothing, if the image is right in a viewer.",
    ),
    Entry(
        "names-in-text",
        "The patient's name may still be in a text",
        "A text that the procedure keeps, or something inside compressed pixels, holds a word of the "
        "patient's name or numbers, or cannot be looked into.",
        (_COPY, _RULES),
        "Export without that text, or uncompressed. If it names nobody, the data manager can set allow = "
        '["names-in-text"].',
    ),
    Entry(
        "near-miss",
        "A file nearly fits a rule",
        "Nothing fits an optional socket, but a file has nearly the right name or place.",
        (),
        "Nothing, if the file is not meant. Else rename it.",
    ),
    Entry(
        "no-code",
        "The folder has no code yet",
        "The table of codes has no row for this folder, or its code is empty.",
        (_RULES,),
        "Add the row, with the folder's name as it is.",
    ),
    Entry(
        "no-row",
        "The folder has no row in a table",
        "A table of the lab, from which values or the title come, has no row for this folder.",
        (_RULES,),
        "Add the row, with the key that the folder's name has.",
    ),
    Entry(
        "not-a-file",
        "Something that is no plain file",
        "The folder holds a link, a pipe or a device. Only plain files can be sent.",
        (_COPY,),
        "Replace it by the file itself, or take it out.",
    ),
    Entry(
        "not-confirmed",
        "It is not known what became of it",
        "Of a DICOM image set Grand Challenge's API does not tell whether it was made.",
        (_RULES,),
        "Look at the display set on Grand Challenge.",
    ),
    Entry(
        "not-deidentified",
        "A file could not be de-identified",
        "The file cannot be read, or holds something that nobody can tell what it is. In doubt nothing of it "
        "is sent.",
        (_COPY,),
        "Check that it opens in a viewer, and export it anew.",
    ),
    Entry(
        "not-deidentified-yet",
        "The DICOM is not de-identified yet",
        "This drop takes only what is de-identified already, and the files do not say so, or hold something "
        "that may name the patient.",
        (_COPY, _RULES),
        "De-identify the files. If what they hold names nobody, the data manager can say what may stand there "
        "(patterns of already_done).",
    ),
    Entry(
        "not-dicom",
        "A file of a series is no DICOM image",
        "The file cannot be read as DICOM.",
        (_COPY,),
        "Export or copy it again, or take it out.",
    ),
    Entry(
        "nothing-to-send",
        "There is nothing to send",
        "No rule takes anything in the folder, or it has none of the parts that become display sets.",
        (_COPY, _RULES),
        "Copy the files into the folder, as deep as the rules ask. If they are there, the data manager "
        "changes the rules.",
    ),
    Entry(
        "other-grid",
        "The mask does not lie on its image",
        "Two images that must have the same size, spacing, direction and origin differ. As a note: they could "
        "not be compared.",
        (_COPY,),
        "Check that the mask is of this image. Resample it to the image's grid, and save it again.",
    ),
    Entry(
        "part-of-series",
        "A rule takes only a part of a series",
        "A series is one image, and a pattern of file names takes only some of its files.",
        (_RULES,),
        "Widen the pattern, or give the rule dicom instead of files.",
    ),
    Entry(
        "platform-error",
        "Grand Challenge had an error",
        "Grand Challenge answered with an error again and again while it was otherwise well.",
        (_COPY, _SERVER),
        "Move the folder back into drop/ later. If it happens again, tell the administrator.",
    ),
    Entry(
        "platform-refused",
        "Grand Challenge refused a step",
        "Grand Challenge did not take a step of the upload, again and again. What it said stands beside it.",
        (_SERVER, _STUDY),
        "Put right what Grand Challenge names. Then move the folder back into drop/.",
    ),
    Entry(
        "same-title",
        "Two parts would have one title",
        "Each title can be used once, and several parts of the folder would get the same.",
        (_COPY, _RULES),
        "Give the parts names of their own, or have the data manager make a title that tells them apart.",
    ),
    Entry(
        "several-images",
        "Several images in one series",
        "A socket takes one image, and the series holds several of each place (echoes, phases, contrasts), or "
        "several files that are images of their own.",
        (_COPY, _RULES),
        "Have the scanner or PACS export each as a series of its own, or keep the one file that is meant. The "
        'data manager can set allow = ["several-images"].',
    ),
    Entry(
        "several-patients",
        "Several patients in one folder",
        "The DICOM files are of more than one patient by name, number or birth date, or a series is "
        "inconsistent about it.",
        (_COPY,),
        "Move what belongs to another patient into a folder of its own, or export the series again.",
    ),
    Entry(
        "several-series",
        "Several series fit one socket",
        "A socket takes one series, and more than one in the folder fits its rule.",
        (_COPY, _RULES),
        "Take out what does not belong, or have the data manager narrow the rule, pick one, or leave such "
        "series out.",
    ),
    Entry(
        "several-studies",
        "Several studies in one display set",
        "The series that would be sent come from more than one DICOM study.",
        (_COPY, _RULES),
        "Take out what does not belong. If they belong together, the data manager can set allow = "
        '["several-studies"] for the drop.',
    ),
    Entry(
        "slide-files",
        "A slide of several files that cannot be sent",
        "The slide does not name its files, or has more of them than Grand Challenge takes.",
        (_COPY,),
        "Export the slide anew, as one file if possible (.ndpi, .tif).",
    ),
    Entry(
        "title-held",
        "The title is another folder's",
        "A folder of the same title was taken before, with other contents. Each title can be used once, so "
        "nothing of this folder was sent.",
        (_COPY, _RULES),
        "If it is another patient or visit, give the folder another name. If it is to add to or correct what "
        "is there, ask the data manager (existing_display_set).",
    ),
    Entry(
        "too-large",
        "More than Grand Challenge takes at once",
        "The folder has more uploads or bytes than Grand Challenge keeps for this user at one time.",
        (_COPY, _SERVER),
        "Make the files smaller, or have the administrator ask Grand Challenge for more room.",
    ),
    Entry(
        "too-many-files",
        "More files than one patient has",
        "The folder has more files than a folder of this drop may have.",
        (_COPY, _SERVER),
        "Check that it is the folder of one patient. If it is, the administrator raises limits.files.",
    ),
    Entry(
        "two-codes",
        "The folder has two codes",
        "The table of codes has more than one row for this folder.",
        (_RULES,),
        "Leave the right row, and remove the others.",
    ),
    Entry(
        "two-files",
        "Two files for one socket",
        "A socket, or a table, takes one file, and more than one in the folder fits its rule.",
        (_COPY, _RULES),
        "Take out the one that does not belong. If both belong, the data manager narrows the rule.",
    ),
    Entry(
        "two-rows",
        "The folder has two rows in a table",
        "A table of the lab has more than one row for this folder.",
        (_RULES,),
        "Leave the right row, and remove the others.",
    ),
    Entry(
        "two-rules",
        "Two rules take one file",
        "The rules of more than one socket fit the same file, so nobody can tell where it belongs.",
        (_RULES,),
        "Make one of the rules narrower, or give one fallback = true.",
    ),
    Entry(
        "unmatched-file",
        "A file that no rule takes",
        "The folder holds a file that is no socket's, so it may have been put there by mistake.",
        (_COPY, _RULES),
        "Take out what does not belong, or give it the name or place that a rule asks for. The data manager "
        "can add a rule, or pass such files over (ignore).",
    ),
    Entry(
        "unmatched-series",
        "A series that no rule takes",
        "The folder holds a DICOM series that is no socket's, so it may have been put there by mistake.",
        (_COPY, _RULES),
        "Take the series out. The data manager can add a rule, or leave such series out (leave_out).",
    ),
    Entry(
        "unsupported-class",
        "A kind of DICOM that this procedure does not know",
        "Grand Challenge's own de-identification knows only CT, MR and whole-slide images.",
        (_RULES,),
        'Choose another procedure for the drop: deidentify = "dicom-standard", or "already-done" where files '
        "are de-identified before they come.",
    ),
    Entry(
        "value-missing",
        "Grand Challenge does not hold a value",
        "A value was sent and accepted, but the display set holds another one, or none.",
        (_COPY, _STUDY),
        "Move the folder back into drop/ to try again. If it happens twice, ask the editors who else changes "
        "the display set.",
    ),
    Entry(
        "value-refused",
        "Grand Challenge refused a value",
        "Grand Challenge looked at what was to be put into the display set, and took nothing of it. What it "
        "said stands beside it.",
        (_COPY, _RULES),
        "Put right the file or value that it names.",
    ),
    Entry(
        "value-too-large",
        "A file is too large for a value",
        "A file from which a value or a table is read has more than 1 MiB.",
        (_COPY,),
        "Check that it is the right file, and make it smaller.",
    ),
    Entry(
        "voxel-values",
        "A mask holds values that its socket does not have",
        "The mask has voxel values beside 0 and the segments that its socket has on Grand Challenge.",
        (_COPY, _RULES),
        "Save the mask with these values only, or have the data manager ask for the segment to be added.",
    ),
)

CATALOGUE = {entry.word: entry for entry in _ENTRIES}


def page() -> str:
    """docs/REASONS.md: Markdown, each word a heading, so that its link is ``#word``."""
    return _HEAD + "".join(
        f"\n## {one.word}\n\n{_filled(f'**{one.heading}.** {one.means}')}\n\n"
        f"{_filled(f'*Who acts:* {one.acts}. *What to do:* {one.cure}')}\n"
        for one in CATALOGUE.values()
    )


def _filled(text: str) -> str:
    return textwrap.fill(text, 115, break_long_words=False, break_on_hyphens=False)


_HEAD = f"""# Reasons

What stands in `failed/NAME.reason.txt`, by its word. The text there names the files and rules; here is what each
word means, who acts and what to do. Whatever it is: nothing of a folder was changed or deleted, and once it is put
right it is moved back into `drop/`; only what is missing is sent. What may still come is waited for first, until
`settle.incomplete_seconds` have passed.

*{Who.RESEARCHER.capitalize()}* works on the share, *{Who.DATA_MANAGER}* writes the rules and keeps the tables,
*{Who.ADMINISTRATOR}* runs the service, *{Who.EDITORS}* act on Grand Challenge.

This page is made by `casedrop reasons`.
"""
