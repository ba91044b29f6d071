"""No change to a ledger goes unnoticed."""

import io
from functools import partial
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from casedrop.chain import NONE, Finding, Head, check, lines, sealed, text, unread

NAMES = st.text('aä🫁"\\\n\udce9', max_size=8)
LISTS = partial(st.lists, max_size=3)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | NAMES, LISTS, max_leaves=5)
FACTS = st.dictionaries(st.sampled_from(["event", "case", "names", "why"]), JSON)
CHAINS = st.lists(FACTS.filter(lambda one: one.get("event") not in ("lost", "torn")), min_size=1, max_size=6)


def chain(facts: list[dict[str, object]]) -> list[bytes]:
    prev, made = NONE, []
    for seq, record in enumerate(facts, 1):
        whole = sealed(record, seq, prev)
        prev = whole["hash"]
        made.append(text(whole) + b"\n")
    return made


def head(made: list[bytes]) -> Head:
    return [one.head for one in lines(made)][-1]


def found(content: bytes, known: Head) -> list[Finding]:
    return check(lines(io.BytesIO(content)), known)[1]


def noticed(content: bytes, known: Head) -> bool:
    return any(not ok for ok, _ in found(content, known))


@given(CHAINS)
def test_any_chain_is_whole_whether_the_journal_knows_its_last_record_or_an_earlier_one(
    facts: list[dict[str, object]],
) -> None:
    made = chain(facts)
    for known in (Head(), *(one.head for one in lines(made))):
        assert check(lines(made), known) == (head(made), [])


@given(CHAINS, st.data())
def test_any_byte_changed_is_noticed(facts: list[dict[str, object]], data: st.DataObject) -> None:
    made = chain(facts)
    content = bytearray(b"".join(made))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    assert noticed(bytes(content), head(made))


@given(CHAINS, st.data())
def test_any_line_removed_doubled_or_moved_is_noticed(
    facts: list[dict[str, object]], data: st.DataObject
) -> None:
    made = chain(facts)
    places = st.integers(0, len(made) - 1)
    one, other = data.draw(places), data.draw(places)
    assert noticed(b"".join(made[:one] + made[one + 1 :]), head(made))
    assert noticed(b"".join([*made[: one + 1], *made[one:]]), head(made))
    if one != other:
        swapped = [*made]
        swapped[one], swapped[other] = swapped[other], swapped[one]
        assert noticed(b"".join(swapped), head(made))


@given(CHAINS, st.data())
def test_any_end_cut_off_is_noticed_even_the_last_line_break(
    facts: list[dict[str, object]], data: st.DataObject
) -> None:
    made = chain(facts)
    content = b"".join(made)
    assert noticed(content[: data.draw(st.integers(0, len(content) - 1))], head(made))


@given(CHAINS, CHAINS)
def test_another_whole_chain_in_its_place_is_noticed(
    facts: list[dict[str, object]], others: list[dict[str, object]]
) -> None:
    if facts != others[: len(facts)]:
        assert noticed(b"".join(chain(others)), head(chain(facts)))


@given(CHAINS, st.data())
def test_a_line_cut_short_is_in_order_once_told_of_and_any_change_of_it_is_noticed(
    facts: list[dict[str, object]], data: st.DataObject
) -> None:
    made = chain(facts)
    torn = made[-1][: data.draw(st.integers(1, len(made[-1]) - 2))] + b"\n"
    last = head(made)
    note = text(sealed({"event": "torn"} | unread(torn), last.seq + 1, last.hash)) + b"\n"
    content = b"".join(made) + torn + note
    known = [one.head for one in lines(io.BytesIO(content))][-1]
    assert [ok for ok, _ in found(content, known)] == [True]
    start = len(content) - len(torn) - len(note)
    place = data.draw(st.integers(start, len(content) - 1))
    changed = bytearray(content)
    changed[place] ^= data.draw(st.integers(1, 255))
    assert noticed(bytes(changed), known)
    assert noticed(b"".join(made) + note, known)


def test_an_unfinished_line_behind_what_the_journal_knows_is_no_fault() -> None:
    made = chain([{"case": 1}, {"case": 2}])
    known = next(lines(made)).head
    (finding,) = found(b"".join(made)[:-3], known)
    assert finding[0]
    assert "unfinished" in finding[1]


def test_what_is_wrong_is_said_with_its_place() -> None:
    made = chain([{"case": number} for number in range(5)])
    changed = made[2].replace(b'"case":2', b'"case":7')
    unreadable, _ = found(b"".join([*made[:2], changed, *made[3:]]), head(made))
    assert unreadable == (False, "Line 3 is changed or damaged.")
    sentences = [words for _, words in found(b"".join(made[:2] + made[3:]), head(made))]
    assert "Line 3: Record 4 does not follow what stands before it (record 2)" in sentences[0]
    (_, end) = found(b"".join(made[:2]), head(made))[-1]
    assert "The journal knows of record 5" in end
    assert "ends at record 2" in end


def test_damage_of_any_kind_is_said_and_never_raises() -> None:
    for junk in (b"NaN\n", b"[" * 100_000 + b"\n", b"\xff\xfe\x00\n", b"\n", b'{"seq":"x"}\n', b"1\n"):
        assert noticed(junk + chain([{"case": 1}])[0], Head())


def test_the_places_of_lines_are_those_in_the_file() -> None:
    made = chain([{}, {}])
    ends = list(accumulate(map(len, made)))
    assert [(one.head.start, one.head.end) for one in lines(made)] == [(0, ends[0]), (ends[0], ends[1])]
