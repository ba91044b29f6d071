"""Whether a text that is to be sent names the patient of the DICOM headers. Pure.

Texts are compared as whole words, whatever their case and accents; "Müller" is also found as "Muller" and
"Mueller", a date in its usual spellings. No text of a header is ever said again: a problem names the
attribute. Sources: DICOM PS3.5, 6.2 (value representations PN, DA, DT), PS3.6, 6 (attributes).
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise

from casedrop.dicom_model import Needle
from casedrop.model import Json, Plan, Problem

SHORTEST = 4
"""Characters of a text that is looked for: shorter ones are found in what names nobody."""
SHORTEST_NUMBER = 6
"""Digits of a plain number that is looked at: shorter ones are measurements."""
DENSE = "\u2e80"
"""From here on a character is a syllable or a word (Chinese, Japanese, Korean), and words are not parted."""
SHORTEST_DENSE = 2

PSEUDONYMOUS = frozenset({"PatientID", "OtherPatientIDs", "StudyInstanceUID", "SeriesInstanceUID"})
"""What names nobody any more where PatientIdentityRemoved is YES."""

NOBODY = frozenset({
    "anon", "anonym", "anonymisiert", "anonymized", "anonymised", "anonymous", "anonymus", "case",
    "deidentified", "dummy", "null", "none", "patient", "person", "phantom", "pseudonym", "study", "subject",
    "test", "unbekannt", "unknown", "unnamed",
})  # fmt: skip
"""Words of PatientName that stand for no name."""

FOLDED = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "\u0131": "i"}
)
SPELT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})


@dataclass(frozen=True, slots=True)
class HeaderText:
    """One value of an identifying attribute of a DICOM header; `vr` is its value representation."""

    keyword: str
    vr: str
    text: str = field(repr=False)


def needles(texts: Iterable[HeaderText], keywords: Iterable[str], *, removed: bool) -> frozenset[Needle]:
    """What to look for of one header, for these attributes.

    Where PatientIdentityRemoved is YES (`removed`), PatientID is a pseudonym, and so is what it holds; other
    ids and UIDs are new ones.
    """
    known = list(texts)
    found = {needle for text in known if text.keyword in set(keywords) for needle in _needles_of(text)}
    if not removed:
        return frozenset(found)
    pseudonyms = [hay for text in known if text.keyword == "PatientID" for hay in _hays(text.text)]
    return frozenset(
        one
        for one in found
        if one.keyword not in PSEUDONYMOUS and not any(one.text in hay for hay in pseudonyms)
    )


def keywords_in(text: str, wanted: Iterable[Needle]) -> tuple[str, ...]:
    """The attributes whose text stands in `text`, sorted."""
    hays = _hays(text)
    return tuple(sorted({one.keyword for one in wanted if any(one.text in hay for hay in hays)}))


def problems(plan: Plan, title: str, wanted: frozenset[Needle]) -> list[Problem]:
    """What of the plan would name a patient; `title` is what of its title is not made by a key."""
    found = []
    if named := keywords_in(title, wanted):
        advice = (
            "Rename the folder so that its name does not, or ask the data manager for titles without names "
            '(title = "{pseudonym}").'
        )
        found.append(_problem("The title", named, advice))
    if said := _named_in(plan.order, wanted):
        found.append(_problem("The order", said, "Ask the data manager for another one."))
    for socket in plan.sockets:
        if said := _named_in(socket.value, wanted):
            advice = "Take it out of the file it comes from."
            found.append(_problem(f'The value of the socket "{socket.socket}"', said, advice))
    return found


def _named_in(value: Json, wanted: frozenset[Needle]) -> list[str]:
    return sorted({keyword for text in _texts(value) for keyword in keywords_in(text, wanted)})


def _problem(what: str, keywords: Iterable[str], advice: str) -> Problem:
    named = " and ".join(keywords)
    text = (
        f"{what} holds what the DICOM headers of the folder have as {named}, and would be shown to readers. "
        f"Nothing was sent. {advice} If that text names nobody, the data manager can take {named} out of "
        "identifier_check."
    )
    return Problem("identifier", text)


def _texts(value: Json) -> Iterator[str]:
    """Every text in a JSON value, the keys of its tables and its long whole numbers too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *_texts(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, int) and len(str(value)) >= SHORTEST_NUMBER:
        yield str(value)


def _needles_of(text: HeaderText) -> Iterator[Needle]:
    if text.vr == "PN":
        yield from _name(text)
    elif text.vr in ("DA", "DT") and (day := _date(text.text)):
        yield from (Needle(text.keyword, f" {spelling} ") for spelling in _dates(day))
    else:
        yield from _phrase(text)


def _name(text: HeaderText) -> Iterator[Needle]:
    """Family, given and middle name, each and together; what stands before and behind a name names nobody."""
    for group in text.text.split("="):
        parts = [part for part in group.split("^")[:3] if part.strip()]
        for part in (" ".join(parts), " ".join(reversed(parts)), *parts):
            yield from _phrase(HeaderText(text.keyword, text.vr, part))
            for word in _words(part):
                yield from _phrase(HeaderText(text.keyword, text.vr, word))


def _phrase(text: HeaderText) -> Iterator[Needle]:
    """The words of a text, one after the other."""
    for spelling in _spellings(text.text):
        words = _words(spelling)
        if not set(words) <= NOBODY and sum(map(len, words)) >= SHORTEST:
            yield Needle(text.keyword, f" {' '.join(words)} ")
        dense = "".join(words)
        if len(dense) >= SHORTEST_DENSE and min(dense) >= DENSE:
            yield Needle(text.keyword, dense)


def _date(text: str) -> date | None:
    """A DA (also in its old form with dots), or the day of a DT."""
    digits = text.strip().replace(".", "")[:8]
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def _dates(day: date) -> set[str]:
    """The day as words, whatever stands between them: year first, day first, month first, in one."""
    year = f"{day.year:04}"
    padded, short = (f"{day.month:02}", f"{day.day:02}"), (str(day.month), str(day.day))
    found = {year + "".join(padded), padded[1] + padded[0] + year, "".join(padded) + year}
    for month, number in (padded, short):
        found |= {f"{year} {month} {number}", f"{number} {month} {year}", f"{month} {number} {year}"}
    return found


def _hays(text: str) -> set[str]:
    """The text as words in all its spellings, words with capitals or digits inside also taken apart."""
    apart = _apart(unicodedata.normalize("NFC", text))
    return {f" {' '.join(_words(spelling))} " for one in (text, apart) for spelling in _spellings(one)}


def _apart(text: str) -> str:
    """Take "DoeJane1970" for "Doe Jane 1970"."""
    cut = [f"{a} " if _ends_word(a, b) else a for a, b in pairwise(text)]
    return "".join(cut) + text[-1:]


def _ends_word(before: str, after: str) -> bool:
    return (before.islower() and after.isupper()) or before.isdigit() != after.isdigit()


def _spellings(text: str) -> set[str]:
    plain = unicodedata.normalize("NFC", text).casefold()
    return {plain, _folded(plain), _folded(plain.translate(SPELT))}


def _folded(text: str) -> str:
    letters = (one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return unicodedata.normalize("NFC", "".join(letters).translate(FOLDED))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)
