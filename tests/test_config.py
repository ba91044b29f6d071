"""Settings load from the examples, and every mistake is said at once, in own words, without values."""

# ruff: noqa: E501 -- a mistake and its sentence stand side by side

import json
import re
import subprocess
import sys
import time
import tomllib
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casedrop.config import (
    CREDENTIAL,
    TABLES,
    TOKEN_VARIABLE,
    Notify,
    Settings,
    load,
    options,
    read_token,
    salvaged,
    schema,
    token_origin,
)
from casedrop.dicom_model import DicomTest
from casedrop.errors import ConfigurationError
from casedrop.hours import Schedule, Window
from casedrop.model import (
    Drop,
    FolderValue,
    JsonValue,
    LabTable,
    Procedure,
    SocketRule,
    TableValue,
    TextValue,
)
from casedrop.settle import is_junk

PROJECT = Path(__file__).parent.parent
EXAMPLES = [PROJECT / "config/casedrop.toml", *sorted((PROJECT / "config/examples").glob("*.toml"))]

DROP = """
[[drops]]
name = "lung"
root = "/srv/casedrop/lung"
reader_study = "lung-2026"
"""
RULE = """
[[drops.sockets]]
socket = "ct-image"
files = "*.mha"
"""
GOOD = DROP + RULE
DICOM = DROP + '[[drops.sockets]]\nsocket = "ct-image"\ndicom = { %s }\n'
SHAPE = 'must be a pattern such as "*thorax*", a list of them, { min = 1, max = 3 } or { not = "*scout*" }'
WAYS = (
    "the environment variable CASEDROP_PLATFORM__TOKEN, a file named by platform.token_file, "
    "or the systemd credential casedrop-token"
)
TABLE = """
[[drops.tables]]
name = "scores"
file = "/etc/casedrop/scores.csv"
key_columns = { patient = "Patient" }
"""
USE = """
[[drops.sockets]]
socket = "score"
value_from = { table = "scores", column = "X" }
"""
VISITS = DROP + "folder = '(?P<patient>.)'\n"
TABLED = VISITS + TABLE + USE
AT = 'drops "lung", table "scores"'
FROM = 'drops "lung", socket "score", value_from'
SLUG = "a slug, the last part of its web address on Grand Challenge: letters, digits, - and _"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "casedrop.toml"


def read(file: Path, text: str, **environ: str) -> Settings:
    file.write_text(text, encoding="utf-8")
    return load(file, environ)


def problems(file: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(file, text, **environ)
    return caught.value.problems


def test_the_schema_is_that_of_the_settings_and_takes_every_example() -> None:
    kept = json.loads((PROJECT / "config/casedrop.schema.json").read_text())
    assert kept == schema(), "run: casedrop schema > config/casedrop.schema.json"
    jsonschema.Draft202012Validator.check_schema(kept)
    for example in EXAMPLES:
        text = example.read_text()
        jsonschema.validate(tomllib.loads(text), kept)
        named = text.splitlines()[0].removeprefix("#:schema ")
        assert (example.parent / named).resolve() == PROJECT / "config/casedrop.schema.json"


def test_the_schema_refuses_what_the_settings_refuse() -> None:
    written = {
        "drops": [{"name": "lung", "root": "/srv", "reader_study": "s", "sockets": [{"socket": "ct"}]}]
    }
    jsonschema.validate(written, schema())
    for wrong in ({"nme": "x"}, {"title": 1}, {"unmatched": "maybe"}, {"reader_study": "a b"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"drops": [written["drops"][0] | wrong]}, schema())


def test_a_set_of_junk_is_called_by_one_name(file: Path) -> None:
    (drop,) = read(file, DROP + 'ignore = ["@dicom-cd", "*.log"]\n' + RULE).drops
    for junk in ("DICOMDIR", "viewer/bin/x.dat", "jre/lib/rt.jar", "AUTORUN.INF", "a/b.exe", "x.log"):
        assert is_junk(junk, drop.ignore)
    for wanted in ("DICOM/IM0001", "score.json", "scans/1.dcm", "report.pdf", "remark.txt"):
        assert not is_junk(wanted, drop.ignore)


PIECE = """[[drops]]
name = "heart"
root = "/srv/casedrop/heart"
reader_study = "heart-2026"
[[drops.sockets]]
socket = "mr-image"
files = "*.mha"
"""


def test_drops_may_stand_in_pieces_beside_the_file(file: Path) -> None:
    (file.parent / "drops.d").mkdir()
    (file.parent / "drops.d" / "heart.toml").write_text(PIECE)
    assert [one.name for one in read(file, DROP + RULE).drops] == ["lung", "heart"]
    assert [one.name for one in read(file, "").drops] == ["heart"]


def test_a_mistake_in_a_piece_is_said_with_its_name(file: Path) -> None:
    (file.parent / "drops.d").mkdir()
    piece = file.parent / "drops.d" / "heart.toml"
    piece.write_text(PIECE.replace('files = "*.mha"', 'fils = "*.mha"'))
    assert problems(file, DROP + RULE)[0] == (
        'drops.d/heart.toml: drops "heart", socket "mr-image": unknown key "fils". Did you mean "files"?'
    )
    piece.write_text(PIECE.replace("heart", "lung"))
    assert any(
        one.startswith("drops.d/heart.toml: ") and "another drop has this name" in one
        for one in problems(file, DROP + RULE)
    )
    piece.write_text('[platform]\nurl = "https://elsewhere.org"\n' + PIECE)
    assert problems(file, DROP + RULE) == [
        'drops.d/heart.toml: holds "platform", but only [[drops]] may stand in it.'
    ]
    piece.write_text("[[drops]\n")
    assert "heart.toml" in problems(file, DROP + RULE)[0]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_load(example: Path) -> None:
    assert load(example, {}).drops


def test_the_annotated_example_mentions_every_option() -> None:
    text = EXAMPLES[0].read_text(encoding="utf-8")
    keys = {option for table in TABLES for option in options(table)}
    assert [
        key
        for key in sorted(keys)
        if not re.search(rf"(?m)^(# )?{key} = |[{{,] {key} = |\[{key}\]|\.{key}\]", text)
    ] == []


def test_the_annotated_example_shows_the_defaults(file: Path) -> None:
    example = load(EXAMPLES[0], {})
    assert example.model_copy(update={"drops": ()}) == read(file, GOOD).model_copy(update={"drops": ()})


def test_the_annotated_example_of_notify_loads(file: Path) -> None:
    (block,) = re.findall(r"(?m)^# \[\[notify\]\]\n(?:#.*\n)+", EXAMPLES[0].read_text(encoding="utf-8"))
    (notify,) = read(file, GOOD + re.sub(r"(?m)^# ((?:\[|\w+ = ).*)", r"\1", block)).notify
    assert notify.drops == ("lung",)
    assert notify.model_copy(update={"drops": ()}) == Notify(url_file=notify.url_file)


def test_rules_become_the_records_the_other_modules_use(file: Path) -> None:
    rules = """
        [[drops.sockets]]
        socket = "b"
        files = ["*.nii", "*.mha"]
        fallback = true
        required = false
        same_grid_as = "ct-image"
        [[drops.sockets]]
        socket = "c"
        value = false
        [[drops.sockets]]
        socket = "d"
        value_from = { json = "score.json", pointer = "/score" }
        [[drops.sockets]]
        socket = "e"
        value_from = { text = "score.txt" }
        [[drops.sockets]]
        socket = "f"
        value_from = { folder = '_(?P<value>\\d+)$' }
    """
    assert read(file, GOOD + rules).drops == (
        Drop(
            name="lung",
            root="/srv/casedrop/lung",
            reader_study="lung-2026",
            sockets=(
                SocketRule("ct-image", ("*.mha",)),
                SocketRule("b", ("*.nii", "*.mha"), fallback=True, required=False, same_grid_as="ct-image"),
                SocketRule("c", value=False, has_value=True),
                SocketRule("d", value_from=JsonValue("score.json", "/score")),
                SocketRule("e", value_from=TextValue("score.txt")),
                SocketRule("f", value_from=FolderValue(r"_(?P<value>\d+)$")),
            ),
        ),
    )


def test_a_drop_that_goes_to_an_archive_has_no_reader_study(file: Path) -> None:
    (drop,) = read(file, GOOD.replace("reader_study", "archive")).drops
    assert (drop.archive, drop.reader_study, drop.goes_to) == ("lung-2026", "", "archive lung-2026")


def test_tables_become_the_records_the_other_modules_use(file: Path) -> None:
    inside = """
        [[drops.tables]]
        name = "reading"
        csv = "*.csv"
        decimal = ","
    """
    title = 'title = "{patient} {table.reading.Code (new)}"\n'
    (drop,) = read(file, VISITS + title + TABLE + inside + USE).drops
    assert drop.tables == (
        LabTable("scores", "/etc/casedrop/scores.csv", keys=(("patient", "Patient"),)),
        LabTable("reading", csv="*.csv", decimal=","),
    )
    assert drop.sockets == (SocketRule("score", value_from=TableValue("scores", "X")),)


def test_dicom_rules_become_the_records_the_other_modules_use(file: Path) -> None:
    drop_keys = """
        leave_out = [{ SeriesDescription = "*scout*" }, { ImageType = ["LOCALIZER", "DERIVED"] }]
        deidentify = "dicom-standard"
        dicom_standard = { options = ["retain-full-dates"] }
        allow = ["several-studies", "changed-size"]
    """
    rules = """
        [[drops.sockets]]
        socket = "b"
        pick = "latest"
        allow = "burned-in"
        fallback = true
        [drops.sockets.dicom]
        Modality = "CT"
        SliceThickness = { min = 0.5, max = 3 }
        SeriesNumber = 3
        ImageType = { not = ["LOCALIZER"] }
        [[drops.sockets]]
        socket = "c"
        dicom = {}
    """
    (drop,) = read(file, DROP + drop_keys + rules).drops
    assert drop == Drop(
        name="lung",
        root="/srv/casedrop/lung",
        reader_study="lung-2026",
        sockets=(
            SocketRule(
                "b",
                fallback=True,
                dicom=(
                    DicomTest("Modality", ("CT",)),
                    DicomTest("SliceThickness", minimum=0.5, maximum=3),
                    DicomTest("SeriesNumber", minimum=3, maximum=3),
                    DicomTest("ImageType", unlike=("LOCALIZER",)),
                ),
                pick="latest",
                allow=("burned-in",),
            ),
            SocketRule("c", dicom=()),
        ),
        procedure=Procedure("dicom-standard", ("changed-size",), (), ("retain-full-dates",)),
        leave_out=(
            (DicomTest("SeriesDescription", ("*scout*",)),),
            (DicomTest("ImageType", ("LOCALIZER", "DERIVED")),),
        ),
        allow=("several-studies", "changed-size"),
    )
    already = DROP + "deidentify = \"already-done\"\nalready_done = { patterns = 'ANON-[0-9]+' }\n" + RULE
    assert read(file, already).drops[0].procedure == Procedure("already-done", patterns=("ANON-[0-9]+",))


@pytest.mark.long
def test_what_reads_dicom_is_loaded_only_where_a_rule_names_a_keyword(file: Path) -> None:
    for text, loaded in ((GOOD, 0), (DICOM % 'Modality = "CT"', 1)):
        file.write_text(text)
        code = (
            "import sys; from pathlib import Path; from casedrop.config import load\n"
            f"load(Path({str(file)!r}), {{}}); sys.exit('pydicom' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == loaded


def test_environment_wins_over_the_file(file: Path) -> None:
    settings = read(
        file,
        "[settle]\nquiet_seconds = 5\nrescan_seconds = 6\n" + GOOD,
        CASEDROP_SETTLE__QUIET_SECONDS="0.5",
        CASEDROP_PLATFORM__TOKEN_FILE="/run/token",
        CASEDROP_CONFIG="elsewhere",
    )
    assert (settings.settle.quiet_seconds, settings.settle.rescan_seconds) == (0.5, 6)
    assert settings.platform.token_file == Path("/run/token")


@pytest.mark.parametrize(
    ("url", "becomes"),
    [
        ("https://grand-challenge.org/api/v1", "https://grand-challenge.org/api/v1/"),
        ("http://127.0.0.1:8000/api/v1/", "http://127.0.0.1:8000/api/v1/"),
        ("http://[::1]:8000/api/v1", "http://[::1]:8000/api/v1/"),
        ("http://gc.localhost/api/v1", "http://gc.localhost/api/v1/"),
    ],
)
def test_the_closing_slash_of_the_address_is_added(file: Path, url: str, becomes: str) -> None:
    assert read(file, f'[platform]\nurl = "{url}"\n' + GOOD).platform.url == becomes


def test_the_annotated_example_of_hours_loads_and_hours_become_a_schedule(file: Path) -> None:
    (block,) = re.findall(r"(?m)^# \[\[limits.hours\]\]\n(?:#.*\n)+", EXAMPLES[0].read_text(encoding="utf-8"))
    text = re.sub(r"(?m)^# ((?:\[|\w+ = ).*)", r"\1", block)
    limits = read(
        file, f'[limits]\nmegabit_per_second = 0\ntime_zone = "Europe/Amsterdam"\n{text}{GOOD}'
    ).limits
    night = Window(22 * 60, 6 * 60, frozenset(range(5)), 1e8)
    assert limits.schedule() == Schedule(0, (night,), ZoneInfo("Europe/Amsterdam"))
    assert not read(file, GOOD).limits.schedule().limits


def test_the_readmes_hours_load(file: Path) -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"(?s)```\n(\[limits\]\n.*?)```", readme)
    schedule = read(file, block + GOOD).limits.schedule()
    assert schedule == Schedule(
        0, (Window(22 * 60, 6 * 60, frozenset(range(7)), 5e7),), ZoneInfo("Europe/Amsterdam")
    )


def test_without_a_zone_hours_go_by_the_systems_clock(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert read(file, GOOD).limits.schedule().zone == ZoneInfo("Asia/Tokyo")
    monkeypatch.delenv("TZ")
    zone = read(file, GOOD).limits.schedule().zone
    for moment in (1_790_000_000, 1_770_000_000):
        assert datetime.fromtimestamp(moment, zone).timetuple()[:5] == time.localtime(moment)[:5]


def test_a_drop_of_the_records_makes_settings_too() -> None:
    drop = Drop("lung", "/srv/lung", "lung", (SocketRule("ct", ("*",)),))
    assert Settings(drops=(drop,)).drops == (drop,)


HTTPS = "platform.url: must begin with https://, or the token would cross the network for all to read."
ADDRESS = "platform.url: must be a web address like https://grand-challenge.org/api/v1/."
NO_PARTS = (
    'it is known only where a folder is split into its subfolders, and split = { folders = "*/" } is missing'
)
HERE = 'drops "lung", socket "ct-image"'
OTHER = "the slug of another socket of this drop"


def hours(start: str, end: str, more: str = "", rate: float = 8) -> str:
    return f'[[limits.hours]]\nfrom = "{start}"\nto = "{end}"\nmegabit_per_second = {rate}\n{more}'


MISTAKES = {
    '[platfrom]\nurl = "https://x.org"\n' + GOOD: 'unknown key "platfrom". Did you mean "platform"?',
    '[platform]\nurll = "x"\n' + GOOD: 'platform: unknown key "urll". Did you mean "url"?',
    '[platform]\ntoken = "x"\n'
    + GOOD: f'platform: unknown key "token". A token never stands in this file; give it by {WAYS}.',
    '[platform]\ntokn = "x"\n'
    + GOOD: f'platform: unknown key "tokn". A token never stands in this file; give it by {WAYS}.',
    "quiet_seconds = 3\n" + GOOD: 'unknown key "quiet_seconds". It belongs in [settle].',
    "[logs]\nxyz = 3\n" + GOOD: 'logs: unknown key "xyz". Known here: names.',
    "platform = 3\n" + GOOD: "platform: must be a table [platform].",
    '[platform]\nurl = "http://grand-challenge.org/"\n' + GOOD: HTTPS,
    '[platform]\nurl = "http://127.0.0.1.example.org/"\n' + GOOD: HTTPS,
    '[platform]\nurl = "grand-challenge.org"\n' + GOOD: ADDRESS,
    '[platform]\nurl = "ftp://grand-challenge.org"\n' + GOOD: ADDRESS,
    '[platform]\nurl = "https://[::1"\n' + GOOD: ADDRESS,
    '[platform]\nurl = "https://x.org:99999/"\n' + GOOD: ADDRESS,
    '[platform]\nurl = "https://me:word@x.org/"\n'
    + GOOD: 'platform.url: must be an address alone, without a user, "?" or "#".',
    '[platform]\nproxy = "proxy:3128"\n'
    + GOOD: "platform.proxy: must be an address like http://proxy.example.org:3128.",
    '[platform]\nproxy = "http://me:word@proxy:3128"\n'
    + GOOD: "platform.proxy: must be without a user: user and password stand in platform.proxy_credentials_file.",
    '[platform]\nproxy = "http://proxy:3128/x"\n'
    + GOOD: "platform.proxy: must be an address alone, without a path.",
    '[platform]\ntoken_expires = "soon"\n'
    + GOOD: "platform.token_expires: must be a date such as 2026-12-31.",
    '[platform]\ntoken_file = "token"\n'
    + GOOD: 'platform.token_file: must be a whole path that starts with "/".',
    '[state]\ndirectory = "/var/\\u0000"\n' + GOOD: "state.directory: holds a control character.",
    '[state]\ndirectory = "/srv/casedrop/lung/state"\n'
    + GOOD: 'state.directory: lies in the root of drops "lung"; keep it off the share.',
    "[settle]\nquiet_seconds = 0\n" + GOOD: "settle.quiet_seconds: must be a number of seconds above 0.",
    "[settle]\nquiet_seconds = inf\n" + GOOD: "settle.quiet_seconds: must be a number of seconds above 0.",
    "[settle]\nquiet_seconds = true\n" + GOOD: "settle.quiet_seconds: must be a number, not true or false.",
    "[limits]\ncases = 0\n" + GOOD: "limits.cases: must be a whole number from 1 to 64.",
    "[limits]\nconnections = 1.5\n" + GOOD: "limits.connections: must be a whole number from 1 to 256.",
    "[limits]\nmegabit_per_second = 0\n"
    + GOOD: "limits: uploads are always closed: allow a rate above 0 at some time.",
    "[limits]\nmegabit_per_second = -1\n"
    + GOOD: "limits.megabit_per_second: must be megabits a second, from 0 (closed) to 1000000.",
    '[limits]\ntime_zone = "Europe/Utrecht"\n'
    + GOOD: 'limits.time_zone: must be a time zone such as "Europe/Amsterdam" that this system knows '
    "(Debian's package tzdata).",
    hours("22:00", "6:00") + GOOD: 'limits.hours number 1.to: must be a time of day such as "22:00".',
    hours("22:00", "22:00")
    + GOOD: 'limits.hours number 1: from and to are the same; a whole day is "00:00" to "24:00".',
    hours("22:00", "06:00")
    + hours("05:59", "08:00")
    + GOOD: "limits.hours number 2: overlaps number 1; any time of the week has one rate.",
    hours("22:00", "06:00", 'days = ["sun"]\n')
    + hours("05:00", "08:00", 'days = ["mon"]\n')
    + GOOD: "limits.hours number 2: overlaps number 1; any time of the week has one rate.",
    hours("00:00", "24:00", rate=0)
    + GOOD: "limits: uploads are always closed: allow a rate above 0 at some time.",
    hours("22:00", "06:00", 'days = ["monday"]\n')
    + GOOD: 'limits.hours number 1.days number 1: must be a list of "mon", "tue", "wed", "thu", "fri", "sat" and '
    '"sun".',
    '[logs]\nnames = "shown"\n' + GOOD: 'logs.names: must be "hidden" or "plain".',
    "": "drops: is missing; it must be at least one table [[drops]].",
    "drops = []\n": "drops: must be at least one table [[drops]].",
    DROP: 'drops "lung", sockets: is missing; it must be at least one table [[drops.sockets]].',
    GOOD.replace(
        'name = "lung"\n', ""
    ): "drops number 1, name: is missing; it must be 1 to 60 letters, digits, dots, - and _.",
    GOOD.replace(
        '"lung"', '"lung left"'
    ): "drops number 1, name: must be 1 to 60 letters, digits, dots, - and _.",
    GOOD.replace("/srv", "srv"): 'drops "lung", root: must be a whole path that starts with "/".',
    GOOD.replace("lung-2026", "https://x.org/lung-2026/"): f'drops "lung", reader_study: must be {SLUG}.',
    DROP
    + "folder = '(P'\n"
    + RULE: 'drops "lung", folder: is no regular expression: missing ), unterminated subpattern at character 1.',
    DROP
    + "folder = 'a{99999999999}'\n"
    + RULE: 'drops "lung", folder: is a regular expression too large to use.',
    DROP
    + 'title = "case"\n'
    + RULE: 'drops "lung", title: has no placeholder and would be the same for every folder; put in {folder}.',
    DROP
    + 'title = "{foldr}"\n'
    + RULE: 'drops "lung", title: unknown placeholder "foldr"; {folder} may be meant.',
    DROP
    + "folder = '(?P<patient>.)'\ntitle = \"{x}\"\n"
    + RULE: 'drops "lung", title: unknown placeholder "x"; {folder}, {patient} may be meant.',
    DROP
    + 'title = "{folder} {subfolder}"\n'
    + RULE: f'drops "lung", title: unknown placeholder "subfolder"; {NO_PARTS}.',
    DROP
    + 'order = "{subfolder}"\n'
    + RULE: f'drops "lung", order: unknown placeholder "subfolder"; {NO_PARTS}.',
    TABLED.replace("{ patient =", "{ subfolder ="): (
        f'{AT}, key_columns: unknown group "subfolder"; {NO_PARTS}.'
    ),
    DROP
    + "split = { pattern = '(?P<visit>v1)_.*' }\n"
    + 'title = "{folder} {visit} {subfolder}"\n'
    + RULE: 'drops "lung", title: unknown placeholder "subfolder"; it is known only where a folder is split into '
    "its subfolders, and this split has a pattern.",
    DROP + 'title = "{folder"\n' + RULE: 'drops "lung", title: has a { or } without its partner.',
    DROP
    + 'title = "{folder!r}"\n'
    + RULE: 'drops "lung", title: placeholders take no : or !, write {folder}.',
    DROP
    + 'title = "{folder:x}"\n'
    + RULE: 'drops "lung", title: placeholders take no : or !, write {folder}.',
    DROP
    + 'title = "{pseudonym:patinet}"\n'
    + "folder = '(?P<patient>.)'\n"
    + RULE: 'drops "lung", title: unknown placeholder "patinet"; {patient} may be meant.',
    DROP
    + 'title = "{pseudonm}"\n'
    + RULE: 'drops "lung", title: unknown placeholder "pseudonm"; {pseudonym} may be meant.',
    DROP
    + 'title = "{folder}"\n'
    + "folder = '(?P<pseudonym>.)'\n"
    + RULE: 'drops "lung", folder: a group may not be called pseudonym, which has a meaning of its own in titles.',
    DROP
    + 'title = "{code}"\n'
    + RULE: 'drops "lung", title: {code} needs a table of codes, such as codes = { file = , folder = , code = }.',
    DROP
    + 'codes = { file = "/c.csv", folder = "F", code = "C" }\n'
    + RULE: 'drops "lung", codes: is used only where the title has {code}.',
    DROP
    + 'title = "{code}"\ncodes = { file = "c.csv", folder = "F", code = "C" }\n'
    + RULE: 'drops "lung", codes, file: must be a whole path that starts with "/".',
    DROP
    + 'ignore = ["@dicom-dvd"]\n'
    + RULE: 'drops "lung", ignore number 1: knows no such set; there is @dicom-cd.',
    DROP
    + 'split = { folders = "*/" }\n'
    + RULE: 'drops "lung", title: must hold {subfolder}, or the parts of a folder would have one title.',
    DROP
    + 'split = { folders = "*/" }\ntitle = "{subfolder}"\n'
    + RULE: 'drops "lung", title: must hold {folder} or the like, or two folders would have the same titles.',
    DROP
    + "split = { pattern = '(?P<visit>v.)_(?P<arm>.)_.*' }\ntitle = \"{folder} {visit}\"\n"
    + RULE: 'drops "lung", title: must hold {arm}, or the parts of a folder would have one title.',
    DROP
    + 'split = { folders = "*" }\ntitle = "{folder} {subfolder}"\n'
    + RULE: 'drops "lung", split, folders: names folders, so it must end in "/", such as */.',
    DROP
    + 'split = { folders = "**/" }\ntitle = "{folder} {subfolder}"\n'
    + RULE: 'drops "lung", split, folders: takes no **: a part is a folder at a certain depth, such as */ or visits/*/.',
    DROP
    + "split = { pattern = 'v._.*' }\n"
    + RULE: 'drops "lung", split, pattern: must have a named group that tells the parts apart, such as (?P<visit>v\\d)_.*.',
    DROP
    + 'split = { folders = "*/", pattern = \'(?P<v>.).*\' }\ntitle = "{folder} {v}"\n'
    + RULE: 'drops "lung", split: must have exactly one of folders and pattern.',
    DROP
    + "folder = '(?P<v>.)'\nsplit = { pattern = '(?P<v>.).*' }\ntitle = \"{folder} {v}\"\n"
    + RULE: 'drops "lung", split, pattern: a group may not be called v, which has a meaning of its own.',
    DROP
    + 'title = "{code}"\ncodes = { file = "/srv/casedrop/lung/drop/c.csv", folder = "F", code = "C" }\n'
    + RULE: 'drops "lung", codes, file: lies in the drop/, done/ or failed/ of a drop; keep it beside them or elsewhere.',
    DROP
    + 'identifier_check = ["PatientNme", "PatientName"]\n'
    + RULE: 'drops "lung", identifier_check: "PatientNme": DICOM has no attribute with that keyword that holds text.',
    DROP
    + 'identifier_check = "PatientName"\n'
    + RULE: 'drops "lung", identifier_check: must be a list of DICOM keywords such as ["PatientName"], or [].',
    DROP
    + 'title = "<{folder}>"\n'
    + RULE: 'drops "lung", title: must hold no <, > or control characters, the platform changes them.',
    DROP + 'unmatched = "warn"\n' + RULE: 'drops "lung", unmatched: must be "fail" or "ignore".',
    DROP
    + 'existing_display_set = "update"\n'
    + RULE: 'drops "lung", existing_display_set: must be "refuse", "add" or "replace".',
    DROP
    + 'ready = "a/READY"\n'
    + RULE: 'drops "lung", ready: must be the plain name of a file directly in the case folder.',
    DROP + 'ignore = [""]\n' + RULE: 'drops "lung", ignore number 1: an empty pattern matches nothing.',
    GOOD + 'fils = "x"\n': f'{HERE}: unknown key "fils". Did you mean "files"?',
    GOOD + "value = 3\n": f"{HERE}: has files and value; a socket has exactly one source.",
    GOOD.replace(
        'files = "*.mha"', ""
    ): f"{HERE}: has no source; give files, dicom, value, value_from or image_of.",
    GOOD.replace('"*.mha"', "[]"): f"{HERE}, files: holds no pattern.",
    GOOD.replace('"*.mha"', "3"): f'{HERE}, files: must be a pattern such as "*.mha", or a list.',
    GOOD.replace(
        '"*.mha"', "'a\\b'"
    ): f"{HERE}, files number 1: folders are parted by /, a backslash matches nothing.",
    GOOD.replace(
        '"*.mha"', '["a", "C:/a"]'
    ): f"{HERE}, files number 2: must be relative to the case folder, such as scans/*.mha.",
    GOOD.replace(
        '"*.mha"', '"/a"'
    ): f"{HERE}, files number 1: must be relative to the case folder, such as scans/*.mha.",
    GOOD.replace(
        '"*.mha"', '"../a"'
    ): f'{HERE}, files number 1: "." and ".." match nothing, patterns stay within the case folder.',
    GOOD.replace(
        '"*.mha"', '"a/"'
    ): f"{HERE}, files number 1: names a folder; for all files in it end it in /**.",
    GOOD + 'required = "no"\n': f"{HERE}, required: must be true or false.",
    GOOD.replace("ct-image", "CT image"): f'drops "lung", socket number 1, socket: must be {SLUG}.',
    GOOD + RULE: f"{HERE}: another rule fills this socket already.",
    GOOD
    + 'same_grid_as = "ct"\n': f"{HERE}, same_grid_as: no rule of this drop fills a socket of that slug.",
    GOOD + 'same_grid_as = ""\n': f"{HERE}, same_grid_as: must be {OTHER}.",
    GOOD
    + 'same_grid_as = "ct-image"\n': f"{HERE}, same_grid_as: names its own socket; it must name that of the image it belongs to.",
    GOOD
    + 'same_grid_as = "score"\n[[drops.sockets]]\nsocket = "score"\nvalue = 1\n': f"{HERE}, same_grid_as: names a socket that is filled with a value; it must name that of an image.",
    GOOD
    + '[[drops.sockets]]\nsocket = "b"\nvalue = 1\nsame_grid_as = "ct-image"\n': 'drops "lung", socket "b", same_grid_as: goes only with files or dicom.',
    GOOD.replace(
        "files = ", "fallback = true\nvalue = "
    ): f"{HERE}, fallback: goes only with files or dicom.",
    GOOD.replace(
        'files = "*.mha"', "value = 2026-01-01"
    ): f"{HERE}, value: must be something JSON can say; a date stands in quotes, inf and nan cannot.",
    GOOD.replace(
        'files = "*.mha"', "value_from = 3"
    ): f'{HERE}, value_from: must be a table such as {{ json = "score.json", pointer = "/score" }}.',
    GOOD.replace(
        'files = "*.mha"', "value_from = {}"
    ): f"{HERE}, value_from: must have exactly one of json, text, folder and table.",
    GOOD.replace(
        'files = "*.mha"', 'value_from = { text = "a", jsn = "b" }'
    ): f'{HERE}, value_from: unknown key "jsn". Did you mean "json"?',
    GOOD.replace(
        'files = "*.mha"', 'value_from = { text = "a", pointer = "/b" }'
    ): f"{HERE}, value_from, pointer: goes only with json.",
    GOOD.replace(
        'files = "*.mha"', 'value_from = { json = "a", pointer = "b" }'
    ): f'{HERE}, value_from, pointer: must be "" or a JSON pointer that starts with "/", such as /score (RFC 6901).',
    GOOD.replace(
        'files = "*.mha"', 'value_from = { folder = "a" }'
    ): f"{HERE}, value_from, folder: must have a group named value, such as _(?P<value>[0-9]+)$.",
    DICOM
    % 'SeriesDescripton = "x"': f'{HERE}, dicom: "SeriesDescripton" is no DICOM keyword; "SeriesDescription" may be meant.',
    DICOM
    % 'xyz = "x"': f'{HERE}, dicom: "xyz" is no DICOM keyword; they are written like SeriesDescription.',
    DICOM % "Modality = true": f"{HERE}, dicom, Modality: {SHAPE}.",
    DICOM % "Modality = []": f"{HERE}, dicom, Modality: {SHAPE}.",
    DICOM % "Modality = { like = 3 }": f"{HERE}, dicom, Modality: takes min, max and not, nothing else.",
    DICOM % "Modality = { min = 3 }": f"{HERE}, dicom, Modality: holds text: give a pattern in quotes.",
    DICOM % "Modality = 3": f"{HERE}, dicom, Modality: holds text: give a pattern in quotes.",
    DICOM % 'SliceThickness = { min = "3" }': f"{HERE}, dicom, SliceThickness: takes numbers as min and max.",
    DICOM
    % "SliceThickness = { min = 3, max = 1 }": f"{HERE}, dicom, SliceThickness: has a min above its max.",
    DICOM
    % "SliceThickness = { not = 3 }": f"{HERE}, dicom, SliceThickness: takes a pattern, or a list of them, as not.",
    DICOM
    % 'PixelData = "x"': f"{HERE}, dicom, PixelData: holds what no rule can compare; take another element.",
    DICOM
    % 'TransferSyntaxUID = "x"': f"{HERE}, dicom, TransferSyntaxUID: holds what no rule can compare; take another element.",
    GOOD.replace(
        'files = "*.mha"', "dicom = 3"
    ): f'{HERE}, dicom: must be a table such as {{ Modality = "CT", SeriesDescription = "*thorax*" }}.',
    GOOD + 'dicom = { Modality = "CT" }\n': f"{HERE}: has files and dicom; a socket has exactly one source.",
    GOOD + 'pick = "largest"\n': f"{HERE}, pick: goes only with dicom.",
    DICOM % 'Modality = "CT"'
    + 'pick = "best"\n': f'{HERE}, pick: must be "largest" or "latest"; without it one series may fit.',
    GOOD.replace("files = ", 'allow = "cut-off"\nvalue = '): f"{HERE}, allow: goes only with dicom or files.",
    GOOD
    + 'allow = ["several-patients"]\n': f"{HERE}, allow: takes only burned-in, changed-size, changed-values, cut-off, missing-slices, mixed-geometry, names-in-text, several-images.",
    DROP
    + 'allow = ["all"]\n'
    + RULE: 'drops "lung", allow: takes only burned-in, changed-size, changed-values, cut-off, missing-slices, mixed-geometry, names-in-text, several-images, several-patients, several-studies.',
    DROP
    + 'leave_out = { Modality = "SR" }\n'
    + RULE: 'drops "lung", leave_out: must be a list of tables such as [{ SeriesDescription = "*scout*" }].',
    DROP
    + "leave_out = [{}]\n"
    + RULE: 'drops "lung", leave_out number 1: names no keyword and would leave out every series.',
    DROP
    + 'leave_out = [{ Modality = "SR" }, { modality = "x" }]\n'
    + RULE: 'drops "lung", leave_out number 2: "modality" is no DICOM keyword; "Modality" may be meant.',
    DROP
    + 'deidentify = "no"\n'
    + RULE: 'drops "lung", deidentify: must be "grand-challenge", "dicom-standard", "already-done" or "send-identifiable".',
    DROP
    + "already_done = { patterns = 'a' }\n"
    + RULE: 'drops "lung", already_done: goes only with deidentify = "already-done".',
    DROP
    + 'deidentify = "already-done"\nalready_done = { patterns = ["(P"] }\n'
    + RULE: 'drops "lung", already_done, patterns number 1: is no regular expression: missing ), unterminated subpattern at character 1.',
    DROP
    + 'deidentify = "dicom-standard"\ndicom_standard = { options = ["retain"] }\n'
    + RULE: 'drops "lung", dicom_standard, options: takes only retain-uids, retain-device-identity, retain-institution-identity, retain-patient-characteristics, retain-full-dates.',
    GOOD + GOOD.replace("/lung", "/other"): 'drops "lung": another drop has this name.',
    GOOD
    + GOOD.replace('"lung"', '"other"').replace(
        "/lung", "/./lung/"
    ): 'drops "other", root: is also the root of drops "lung".',
    TABLED.replace("file =", 'csv = "*.csv"\nfile ='): f"{AT}: must have exactly one of file and csv.",
    TABLED.replace('file = "/etc/casedrop/scores.csv"', ""): f"{AT}: must have exactly one of file and csv.",
    TABLED.replace(
        'file = "/etc/casedrop/scores.csv"', 'csv = "*.csv"\nsheet = "a"'
    ): f"{AT}, sheet: goes only with file.",
    TABLED.replace("key_columns = {", "# {"): (
        f'{AT}: needs key_columns, such as {{ folder = "Folder" }}, to tell which row is a folder\'s.'
    ),
    TABLED.replace('{ patient = "Patient" }', "{ patient = 3 }"): (
        f'{AT}, key_columns: must be a table of groups and columns, such as {{ patient = "Patient" }}.'
    ),
    TABLED.replace('{ patient = "Patient" }', '{ patinet = "Patient" }'): (
        f'{AT}, key_columns: unknown group "patinet"; left stands a named group of `folder` or `split`, or folder: '
        "patient may be meant."
    ),
    TABLED.replace("key_columns", 'decimal = "comma"\nkey_columns'): f'{AT}, decimal: must be "." or ",".',
    TABLED.replace('"/etc/casedrop/scores.csv"', '"/srv/casedrop/lung/done/scores.csv"'): (
        f"{AT}, file: lies in the drop/, done/ or failed/ of a drop; keep it beside them or elsewhere."
    ),
    TABLED.replace(
        "key_columns", "decimel = 3\nkey_columns"
    ): f'{AT}: unknown key "decimel". Did you mean "decimal"?',
    VISITS + TABLE + TABLE + USE: 'drops "lung", table "scores": another table has this name.',
    VISITS + TABLE + RULE: f"{AT}: is used by no socket, and neither in title nor in order.",
    TABLED.replace('table = "scores"', 'table = "score"').replace(
        "folder = ", 'title = "{table.scores.X}"\nfolder = '
    ): (f'{FROM}, table: unknown table "score"; "scores" may be meant.'),
    TABLED.replace(', column = "X"', ""): f"{FROM}: must have table and column together.",
    TABLED.replace('table = "scores"', 'text = "a"').replace(
        "folder = ", 'title = "{table.scores.X}"\nfolder = '
    ): (f"{FROM}: must have table and column together."),
    VISITS + 'title = "{table.scores.X}"\n' + RULE: (
        'drops "lung", title: unknown table "scores"; tables are set with [[drops.tables]].'
    ),
    GOOD.replace("reader_study", "archive").replace(
        "lung-2026", "https://x.org/lung-2026/"
    ): f'drops "lung", archive: must be {SLUG}.',
    DROP.replace('reader_study = "lung-2026"\n', "")
    + RULE: 'drops "lung": must have exactly one of reader_study and archive.',
    DROP
    + 'archive = "scans-2026"\n'
    + RULE: 'drops "lung": must have exactly one of reader_study and archive.',
    DROP.replace("reader_study", "archive")
    + 'order = "{folder}"\n'
    + RULE: 'drops "lung", order: goes only with reader_study: the items of an archive have no order.',
    DROP + "order = 3\n" + RULE: 'drops "lung", order: must be text such as {visit}.',
    DROP
    + 'order = "3"\n'
    + RULE: 'drops "lung", order: has no placeholder and would be the same for every folder; put in {folder}.',
    DROP
    + 'order = "{pseudonym}"\n'
    + RULE: 'drops "lung", order: must be a whole number, which a pseudonym never is.',
    VISITS
    + 'order = "{visit}"\n'
    + RULE: 'drops "lung", order: unknown placeholder "visit"; {folder}, {patient} may be meant.',
    VISITS + 'order = "{table.scores.X}"\n' + RULE: (
        'drops "lung", order: unknown table "scores"; tables are set with [[drops.tables]].'
    ),
    GOOD + '[[notify]]\nurl_file = "/n"\ndrops = ["lung", "heart"]\n': (
        'notify number 1, drops: there is no drop "heart".'
    ),
    GOOD + '[[notify]]\nurl_file = "/n"\non = ["failed", "done"]\n': (
        'notify number 1, on number 2: must be a list of "failed", "held", "resumed", "token" and "digest".'
    ),
    GOOD + '[[notify]]\nurl_file = "/n"\nurl = "json://secret"\n': (
        'notify number 1: unknown key "url". An address holds passwords: name a file with it, as url_file.'
    ),
    DROP + 'title = "{table.scores}"\n' + RULE: (
        'drops "lung", title: a column of a table is written {table.NAME.COLUMN}.'
    ),
    GOOD
    + GOOD.replace('"lung"', '"other"').replace(
        "/lung", "/lung/a"
    ): 'drops "other", root: and that of drops "lung" lie one in the other.',
}


@pytest.mark.parametrize(("text", "sentence"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_mistake_is_said_alone_and_in_own_words(file: Path, text: str, sentence: str) -> None:
    assert problems(file, text) == [sentence]


def test_every_mistake_is_said_at_once(file: Path) -> None:
    said = problems(file, "".join(text for text in MISTAKES if text.startswith((DROP, "\n[[drops]]"))))
    assert len(said) > 40


def test_links_to_one_root_are_the_same_root(tmp_path: Path, file: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    one, two = (GOOD.replace("/srv/casedrop/lung", str(tmp_path / name)) for name in ("real", "link"))
    said = problems(file, one + two.replace('"lung"', '"other"'))
    assert said == ['drops "other", root: is also the root of drops "lung".']


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "CASEDROP_PLATFORM__TOKN",
            "CASEDROP_PLATFORM__TOKN: unknown environment variable. Did you mean CASEDROP_PLATFORM__TOKEN?",
        ),
        (
            "CASEDROP_XYZ",
            "CASEDROP_XYZ: unknown environment variable. Drops are set in the file alone.",
        ),
        (
            "CASEDROP_SETTLE__QUIET_SECONDS",
            "CASEDROP_SETTLE__QUIET_SECONDS: must be a number of seconds above 0.",
        ),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(file: Path, name: str, sentence: str) -> None:
    assert problems(file, GOOD, **{name: "a secret"}) == [sentence]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'a = "b\\c"',
            "line 1, column 9: a backslash within double quotes; paths take /, and patterns stand in single quotes.",
        ),
        ("[state]\nsecret", 'end of document: a key without "=" and a value.'),
        (
            "[a]\nb = yes",
            "line 2, column 5: no value TOML knows; text stands in quotes, true and false do not.",
        ),
        (
            "[a]\n[a]\n",
            "line 2, column 3: a table that stands there already; each one of a list starts with [[ ]].",
        ),
        ("[a]\nb = 1\nb = 1", "end of document: a key that stands there already."),
    ],
)
def test_what_is_no_toml_is_said_with_its_line(file: Path, text: str, sentence: str) -> None:
    assert problems(file, text) == [f"{file}, {sentence}"]


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"# \xe9")
    said = {}
    for name in ("none", "", "latin"):
        with pytest.raises(ConfigurationError) as caught:
            load(tmp_path / name, {})
        said[name] = str(caught.value)
    assert said == {
        "none": f"{tmp_path / 'none'}: cannot be read: No such file or directory.",
        "": f"{tmp_path}: cannot be read: Is a directory.",
        "latin": f"{tmp_path / 'latin'}: is not UTF-8 text; save it as UTF-8.",
    }


SECRETS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=64, max_size=80)
SPOTS = re.findall(r'"[^"\n]*"|\d+(?= *#|\n)|(?m:^\w+)(?= = )', EXAMPLES[0].read_text(encoding="utf-8"))


@given(SECRETS, st.sampled_from(sorted(set(SPOTS))), st.sampled_from(['"', "", "'"]), st.booleans())
def test_no_message_shows_a_secret_wherever_it_was_pasted(
    tmp_path_factory: pytest.TempPathFactory, secret: str, spot: str, quote: str, broken: bool
) -> None:
    text = EXAMPLES[0].read_text(encoding="utf-8").replace(spot, f"{quote}{secret}{quote}")
    text = text.replace("[[drops]]", '[[drops]]\ntokn = "' + secret + '"') if broken else text
    file = tmp_path_factory.getbasetemp() / "secret.toml"
    environ = {
        "CASEDROP_PLATFORM__TOKN": secret,
        f"CASEDROP_{secret}": secret,
        "CASEDROP_LIMITS__CASES": secret,
    }
    said = problems(file, text, **environ)
    assert said
    assert not any(secret in problem for problem in said)


def settings_with(token_file: Path | None = None) -> Settings:
    drop = Drop("lung", "/srv/lung", "lung", (SocketRule("ct", ("*",)),))
    return Settings.model_validate({"platform": {"token_file": token_file}, "drops": (drop,)})


def write_token(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_the_token_comes_from_each_of_the_three_places(tmp_path: Path) -> None:
    environ = {TOKEN_VARIABLE: " abc "}
    assert (read_token(settings_with(), environ), token_origin(settings_with(), environ)) == (
        "abc",
        "environment",
    )
    settings = settings_with(write_token(tmp_path / "token", "def\n", 0o640))
    assert (read_token(settings, {}), token_origin(settings, {})) == ("def", "file")
    write_token(tmp_path / CREDENTIAL, "ghi\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert (read_token(settings_with(), environ), token_origin(settings_with(), environ)) == (
        "ghi",
        "credential",
    )


def token_problems(settings: Settings, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_token(settings, environ)
    return str(caught.value)


def test_without_a_token_the_three_ways_are_said() -> None:
    said = token_problems(settings_with(), CASEDROP_PLATFORM__TOKEN="")
    assert said == f"There is no token for Grand Challenge. Give it by one of: {WAYS}."


def test_two_different_tokens_are_refused_two_equal_ones_are_not(tmp_path: Path) -> None:
    settings = settings_with(write_token(tmp_path / "token", "abc"))
    assert read_token(settings, {TOKEN_VARIABLE: "abc"}) == "abc"
    said = token_problems(settings, CASEDROP_PLATFORM__TOKEN="secret")
    assert (
        said
        == f"{TOKEN_VARIABLE} and platform.token_file give different tokens. Keep one and remove the other."
    )


@pytest.mark.parametrize("token", ["Bearer secret", "secr\u00e9t", "secret\x00secret"])
def test_a_token_with_odd_characters_is_refused_unseen(token: str) -> None:
    said = token_problems(settings_with(), CASEDROP_PLATFORM__TOKEN=token)
    assert said.startswith(f"{TOKEN_VARIABLE}: the token holds white space or characters no token has.")
    assert "secr" not in said


def test_a_token_file_must_be_there_filled_and_private(tmp_path: Path) -> None:
    none = tmp_path / "none"
    assert (
        token_problems(settings_with(none)) == f"{none}: the token cannot be read: No such file or directory."
    )
    empty = write_token(tmp_path / "empty", "\n")
    assert token_problems(settings_with(empty)) == f"{empty}: is empty; it must hold the token."
    wide = write_token(tmp_path / "open", "abc", 0o644)
    assert token_problems(settings_with(wide)) == (
        f"{wide}: everyone on this machine can read or change the token. Run: chmod 640 {wide}"
    )


@pytest.mark.parametrize(
    ("written", "state", "rescan"),
    [
        (
            '[state]\ndirectory = "/srv/state"\nmin_fre = 1\n[settle]\nrescan_seconds = 60\nquiet = 1',
            "/srv/state",
            60,
        ),
        ('[state]\ndirectory = "state"\n[settle]\nrescan_seconds = "no"', "/var/lib/casedrop", 30),
        ("state = 3", "/var/lib/casedrop", 30),
        ("[state", "/var/lib/casedrop", 30),
    ],
)
def test_of_a_configuration_with_mistakes_what_is_good_still_finds_a_service_that_runs(
    tmp_path: Path, written: str, state: str, rescan: float
) -> None:
    path = tmp_path / "casedrop.toml"
    path.write_text(written)
    found = salvaged(path, {})
    assert (found.state.directory, found.settle.rescan_seconds, found.drops) == (Path(state), rescan, ())
    assert salvaged(path, {"CASEDROP_STATE__DIRECTORY": "/srv/other"}).state.directory == Path("/srv/other")
    path.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        salvaged(path, {})
