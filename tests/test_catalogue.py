"""Every reason that can be given is explained in one place, and in docs/REASONS.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import casedrop
from casedrop.catalogue import CATALOGUE, Entry, page
from casedrop.model import ALLOW, Case, Problem
from casedrop.receipts import COLUMNS, reason
from casedrop.stages import Stage

SOURCE = Path(casedrop.__file__).parent
PAGE = Path(__file__).parent.parent / "docs" / "REASONS.md"
HANDED_ON = {
    "deidentify": "allowed",  # a word of ALLOW
    "group": "word",  # Folder.wrong and Folder.lacking, whose callers are looked at
    "guards": "one.word",
    "journal": "word",  # of what failed before
}
"""Where a problem is made whose word is not written there."""


def said() -> Iterator[tuple[str, ast.expr]]:
    """Module and word of each problem that the code makes."""
    for path in sorted(SOURCE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _makes_problem(node.func):
                yield path.stem, node.args[0]


def _makes_problem(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return ast.unparse(function) in ("folder.wrong", "folder.lacking")
    return isinstance(function, ast.Name) and function.id == "Problem"


def test_every_word_that_is_said_is_explained_and_none_besides() -> None:
    words = {node.value for _, node in said() if isinstance(node, ast.Constant)}
    assert words | set(ALLOW) == CATALOGUE.keys()


def test_no_word_is_made_up_where_it_is_said() -> None:
    found = {module: ast.unparse(node) for module, node in said() if not isinstance(node, ast.Constant)}
    assert found == HANDED_ON


def test_a_reader_of_the_page_finds_each_word_in_the_order_of_the_alphabet() -> None:
    assert re.findall(r"^## (.*)$", page(), re.MULTILINE) == sorted(CATALOGUE)


def test_the_page_is_that_of_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: casedrop reasons > docs/REASONS.md"


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_a_reason_says_in_whole_sentences_what_it_means_who_acts_and_what_to_do(entry: Entry) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", entry.word)
    assert re.fullmatch(r"[A-Z].{10,60}[^.]", entry.heading)
    assert re.fullmatch(r"[A-Z].{20,300}\.", entry.means)
    assert re.fullmatch(r"[A-Z].{15,300}\.", entry.cure)
    assert bool(entry.who) != entry.cure.startswith("Nothing")
    assert len(set(entry.who)) == len(entry.who)


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_each_reason_fits_one_screen_of_notepad(entry: Entry) -> None:
    problem = Problem(entry.word, f"{'A file that is named here has a long name. ' * 6}")
    where = (
        "https://grand-challenge.org/api/v1/",
        "https://lung-2026.grand-challenge.org/",
        "pk",
        "lung-2026",
    )
    case = Case(1, "r", "P001", *where, Stage.FAILED, 0.0, problems=(problem,), target="failed")
    text = reason(case, (), 0.0, "Imaging desk, phone 4711")
    lines = text.split("\r\n")
    assert len(lines) <= 32
    assert max(map(len, lines)) <= COLUMNS
    assert "\n" not in text.replace("\r\n", "")
    plain = " ".join(text.split())
    for said_there in (
        entry.heading,
        entry.acts,
        entry.cure,
        "Imaging desk, phone 4711",
        f"under {entry.word} ",
    ):
        assert said_there in plain
