"""The checksums of what is sent are those of its bytes, in whatever pieces they come."""

import hashlib
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from casedrop import sums

LARGE = 8
"""Bytes from which a piece counts as a whole chunk here."""


@given(st.lists(st.binary(max_size=3 * LARGE), max_size=30), st.integers(1, 40))
def test_the_sums_are_those_of_all_bytes_and_of_each_part(pieces: list[bytes], step: int) -> None:
    with patch.object(sums, "CHUNK", LARGE):
        made = sums.Sums(step)
        for piece in pieces:
            made.add(piece)
    whole = b"".join(pieces)
    parts = [whole[start : start + step] for start in range(0, max(len(whole), 1), step)]
    assert made.sha256 == hashlib.sha256(whole).hexdigest()
    assert made.md5s == tuple(hashlib.md5(part, usedforsecurity=False).hexdigest() for part in parts)


def test_what_a_view_shows_may_be_written_over_once_it_is_added() -> None:
    memory, made = bytearray(sums.CHUNK), sums.Sums(3 * sums.CHUNK)
    for letter in b"abcd":
        memory[:] = bytes([letter]) * sums.CHUNK
        made.add(memoryview(memory))
    whole = b"".join(bytes([letter]) * sums.CHUNK for letter in b"abcd")
    parts = (whole[: 3 * sums.CHUNK], whole[3 * sums.CHUNK :])
    assert made.md5s == tuple(hashlib.md5(part, usedforsecurity=False).hexdigest() for part in parts)
