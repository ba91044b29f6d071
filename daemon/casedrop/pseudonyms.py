"""Names that name nobody: the same text under the same key is always the same, and leads nowhere back. Pure.

HMAC-SHA256 (RFC 2104, FIPS 180-4), of which 80 bits are shown in the letters of Crockford's base32.
"""

import hashlib
import hmac
import re
import unicodedata

KEY_BYTES = 32
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's: no I, L, O or U, so that nothing is misread and no word comes about by chance."""
BITS = 80
_SHAPE = re.compile(rf"[{LETTERS}]{{4}}(-[{LETTERS}]{{4}}){{3}}")


def pseudonym(key: bytes, study: str, text: str) -> str:
    """What stands for a text in one reader study: XXXX-XXXX-XXXX-XXXX.

    Another study's is another, so that what readers of two studies see cannot be put together.
    """
    named = unicodedata.normalize("NFC", text.strip()).encode("utf-8", "surrogateescape")
    whole = hmac.digest(key, b"\0".join([b"casedrop pseudonym 1", study.encode(), named]), "sha256")
    number = int.from_bytes(whole[: BITS // 8])
    letters = "".join(LETTERS[number >> shift & 31] for shift in range(BITS - 5, -5, -5))
    return "-".join(letters[at : at + 4] for at in range(0, len(letters), 4))


def fingerprint(key: bytes) -> str:
    """Tells keys apart without telling anything of them: 16 hexadecimal digits."""
    return hmac.digest(key, b"casedrop fingerprint", hashlib.sha256).hex()[:16]


def outside(title: str, template: str) -> str:
    """What of a title is not a pseudonym: chance may make words of its letters."""
    return _SHAPE.sub(" ", title) if "{pseudonym" in template else title
