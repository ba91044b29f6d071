"""`casedrop install` on a server that has nothing of Casedrop yet."""

import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from apart import PROGRAM, Apart, apart
from casedrop import install, installing
from casedrop.errors import ConfigurationError
from casedrop.installing import Found, Step, Wish, writable, wrong_place

LONG = pytest.mark.long
TOKEN = "k3y" * 20
ASKED = ("--drop", "lung=lung-2026", "--url", "http://127.0.0.1:9/api/v1/", "--token-file", "/etc/given")
OUT_OF_REACH = 75
"""What `check` says at the end, as there is no platform."""
SOMEBODY = ("setpriv", "--reuid=4242", "--regid=casedrop", "--clear-groups", "sh", "-euc")
SERVICE = ("runuser", "-u", "casedrop", "--")
AGAIN = Wish(Path(PROGRAM), Path("/opt/systemd"), (), "", "", None, start=False)
THERE = Found(
    config=True,
    roots=(Path("/srv/casedrop/lung"),),
    state=installing.STATE,
    token=True,
    sealed=True,
    own_token=False,
    aside=(),
    instances=(),
    runs_systemd=True,
    seals=True,
    acls=True,
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Apart]:
    with apart(tmp_path) as made:
        (made.top / "etc/given").write_text(f"{TOKEN}\n")
        yield made


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Apart, str]]:
    """One for the tests that leave it as it is, and what the installation said."""
    with apart(tmp_path_factory.mktemp("ready")) as made:
        (made.top / "etc/given").write_text(f"{TOKEN}\n")
        yield made, installed(made)


def installed(server: Apart, *further: str, code: int = OUT_OF_REACH) -> str:
    return " ".join(server.run(PROGRAM, "install", *ASKED, *further, code=code).split())


def tree(server: Apart) -> dict[str, tuple[str, int, str]]:
    """Of each file what it is, whose group's, and what it holds, if that is the same each time."""
    own = {".casedrop.json", "token.cred"}
    found = {}
    for top in (
        "etc/casedrop",
        "etc/systemd/system",
        "etc/sysusers.d",
        "etc/tmpfiles.d",
        "srv",
        "var/lib/casedrop",
    ):
        for path in (server.top / top).rglob("*"):
            here = path.lstat()
            text = path.read_text() if stat.S_ISREG(here.st_mode) and path.name not in own else ""
            found[str(path.relative_to(server.top))] = (stat.filemode(here.st_mode), here.st_gid, text)
    return found


@LONG
def test_from_nothing_to_a_service_that_only_lacks_its_platform(ready: tuple[Apart, str]) -> None:
    server, said = ready
    assert "/srv/casedrop/lung: folders can be moved to done/ and failed/." in said
    assert "PROBLEM No connection to the platform (127.0.0.1:9)" in said
    assert said.count("PROBLEM") == 1
    assert "well formed" in server.run(*SERVICE, PROGRAM, "check", "--offline")
    assert "mode = " in server.text("etc/casedrop/drops.d/lung.toml")
    assert (server.top / "etc/systemd/system/multi-user.target.wants/casedrop.service").is_symlink()


@LONG
def test_the_token_is_kept_encrypted_and_shown_to_nobody(ready: tuple[Apart, str]) -> None:
    server, said = ready
    assert TOKEN not in said
    assert all(TOKEN not in text for _, _, text in tree(server).values())
    sealed = "/etc/casedrop/token.cred"
    assert (server.top / sealed[1:]).stat().st_mode & 0o777 == 0o600
    assert server.run("systemd-creds", "decrypt", "--name=casedrop-token", sealed, "-") == TOKEN
    said = server.run(PROGRAM, "check", code=OUT_OF_REACH)
    assert "There is no token" not in said, "root need not name it"
    assert "There is no token" in server.run(*SERVICE, PROGRAM, "check", code=78)


@LONG
def test_a_token_that_cannot_be_encrypted_is_kept_for_root_alone_and_that_is_said(server: Apart) -> None:
    server.run("mount", "--bind", "/bin/false", "/usr/bin/systemd-creds")
    assert "holds the token in plain, for root alone" in installed(server)
    kept = server.top / "etc/casedrop/token"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == (TOKEN, 0o600)
    assert not (server.top / "etc/systemd/system/casedrop.service.d/10-token.conf").exists()


@LONG
def test_people_write_in_drop_and_failed_alone_and_the_service_moves_what_they_made(
    ready: tuple[Apart, str],
) -> None:
    server, _ = ready
    root = "/srv/casedrop/lung"
    for folder in ("drop", "failed"):
        made = f"umask 077; mkdir {root}/{folder}/P001; echo > {root}/{folder}/P001/a"
        server.run(*SOMEBODY, made)
        server.run(*SERVICE, "cat", f"{root}/{folder}/P001/a")
    server.run(*SERVICE, "mv", f"{root}/drop/P001", f"{root}/done/")
    server.run(*SOMEBODY, f"mv {root}/failed/P001 {root}/drop/")
    for folder in (root, f"{root}/done"):
        assert "Permission denied" in server.run(*SOMEBODY, f"mkdir {folder}/x", code=1)
    server.run("setpriv", "--reuid=4242", "--clear-groups", "--regid=4242", "ls", root, code=2)


@LONG
def test_researchers_of_a_group_of_their_own_may_as_much(server: Apart) -> None:
    installed(server, "--researchers", "users")
    server.run(*SERVICE, "touch", "/srv/casedrop/lung/done/P001.receipt.txt")
    them = ("setpriv", "--reuid=4242", "--regid=users", "--clear-groups", "sh", "-euc")
    server.run(*them, "cd /srv/casedrop/lung; umask 077; mkdir drop/P002; cat done/P001.receipt.txt")
    server.run(*SERVICE, "mv", "/srv/casedrop/lung/drop/P002", "/srv/casedrop/lung/failed/")
    server.run(*them, "cd /srv/casedrop/lung; mv failed/P002 drop/")
    assert "Permission denied" in server.run(*them, "mkdir /srv/casedrop/lung/done/x", code=1)
    assert "groupadd nobody-has-it" in installed(server, "--researchers", "nobody-has-it", code=78)


@LONG
def test_what_dry_run_prints_does_the_same_when_a_person_types_it(server: Apart, tmp_path: Path) -> None:
    before = tree(server)
    script = server.run("setpriv", "--reuid=65534", PROGRAM, "install", *ASKED, "--dry-run")
    assert tree(server) == before
    with apart(tmp_path / "typed") as typed:
        (typed.top / "etc/given").write_text(TOKEN)
        typed.run("sh", "-e", given=script, code=OUT_OF_REACH)
        by_hand = tree(typed)
    installed(server)
    assert tree(server) == by_hand


@LONG
def test_again_it_keeps_what_people_have_written_and_puts_right_what_is_ours(server: Apart) -> None:
    installed(server)
    piece = server.top / "etc/casedrop/drops.d/lung.toml"
    piece.write_text(piece.read_text().replace('mode = "rehearse"\n', ""))
    once = tree(server)
    for path in ("etc/systemd/system/casedrop.service", "etc/sysusers.d/casedrop.conf"):
        (server.top / path).unlink()
    (server.top / "srv/casedrop/lung/done").chmod(0o2777)
    installed(server)
    assert tree(server) == once
    installed(server, "--drop", "heart=heart-2026")
    added = set(tree(server)) - set(once)
    assert {"etc/casedrop/drops.d/heart.toml", "srv/casedrop/heart/done"} <= added
    there = tree(server)
    said = installed(server, "--drop", "in=s", "--under", "/srv/casedrop/lung", code=78)
    assert "lie one in the other" in said
    assert tree(server) == there
    said = installed(server, "--drop", "heart=other-2026", "--url", "https://grand-challenge.org/api/v1/")
    assert "ATTENTION platform.url stays http://127.0.0.1:9/api/v1/." in said
    assert "ATTENTION heart still goes to heart-2026." in said
    assert "lung still goes" not in said


@LONG
def test_stopped_half_way_it_says_what_is_done_and_goes_on_the_next_time(server: Apart) -> None:
    (server.top / "srv/casedrop/lung").mkdir(parents=True)
    in_the_way = server.top / "srv/casedrop/lung/done"
    in_the_way.touch()
    said = installed(server, code=78)
    assert (
        'PROBLEM The root of "lung", if there is none. /srv/casedrop/lung: cannot be made (File exists).'
        in said
    )
    assert "Not done:" in said
    assert "run the same command again" in said
    in_the_way.unlink()
    installed(server)
    assert "well formed" in server.run(*SERVICE, PROGRAM, "check", "--offline")


@LONG
def test_removed_it_leaves_data_state_and_configuration_and_says_so(server: Apart) -> None:
    installed(server)
    own = server.top / "etc/systemd/system/casedrop.service.d/override.conf"
    own.write_text("[Service]\nNice=1\n")
    (server.top / "srv/casedrop/lung/done/P001").mkdir()
    said = server.run(PROGRAM, "install", "--uninstall")
    for path in ("/srv/casedrop/lung:", "rm -r /var/lib/casedrop", "rm -r /etc/casedrop", "userdel casedrop"):
        assert path in said
    left = tree(server)
    assert "srv/casedrop/lung/done/P001" in left
    assert "etc/casedrop/token.cred" in left
    assert [one for one in left if "systemd" in one and "casedrop" in one] == [
        "etc/systemd/system/casedrop.service.d",
        "etc/systemd/system/casedrop.service.d/override.conf",
    ]
    server.run(PROGRAM, "install", "--uninstall")
    own.unlink()
    server.run(PROGRAM, "install", code=OUT_OF_REACH)
    assert installing.SEALED_CONF in server.text(str(installing.TOKEN_CONF))


@LONG
def test_a_unit_that_somebody_wrote_is_kept_beside_the_new_one(server: Apart) -> None:
    unit = server.top / "etc/systemd/system/casedrop.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    installed(server)
    assert server.text(f"{installing.UNITS}/casedrop.service.before-install").endswith("/bin/true\n")


@LONG
def test_an_unmounted_share_is_not_filled_with_a_new_root(server: Apart) -> None:
    installed(server)
    (server.top / "var/lib/casedrop/journal.sqlite").touch()
    share = server.top / "srv/casedrop/lung"
    share.rename(share.with_name("elsewhere"))
    share.mkdir()
    assert "Is the share mounted?" in installed(server, code=78)
    assert not list(share.iterdir())


@LONG
def test_all_that_is_missing_is_said_at_once_before_anything_is_done(server: Apart) -> None:
    before = tree(server)
    said = server.run(PROGRAM, "install", code=78)
    assert "--drop NAME=STUDY" in said
    assert "--token-file FILE" in said
    assert "--drop lung=STUDY" in server.run(PROGRAM, "install", "--drop", "lung", code=78)
    assert "/home, which the service cannot see" in installed(server, "--under", "/home/share", code=78)
    address = "platform.url: must be a web address like https://grand-challenge.org/api/v1/."
    assert address in installed(server, "--url", "grand-challenge.org", code=78)
    within = server.run(PROGRAM, "install", *ASKED, "--drop", f"{'x' * 61}=s", code=78)
    assert "1 to 60 letters" in within
    (server.top / "etc/given").write_text("Bearer k3y")
    assert 'without "Bearer"' in installed(server, code=78)
    assert tree(server) == before


@LONG
def test_who_may_not_read_something_is_told_to_ask_as_root_or_to_join_the_group(
    ready: tuple[Apart, str],
) -> None:
    server, _ = ready
    outside = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM)
    for command in (("status",), ("status", "--health"), ("check",), ("plan", "lung")):
        said = server.run(*outside, *command, code=78)
        assert "/etc/casedrop may be read by root and the group casedrop alone." in said
        assert said.count("\n") == 1
    manager = ("setpriv", "--reuid=4242", "--regid=casedrop", "--clear-groups", PROGRAM)
    said = server.run(*manager, "check", "--offline")
    assert f"as root: sudo {PROGRAM} check\n" in said
    assert "PROBLEM" not in said
    for advice in ("setfacl", "install -d", "Is the share mounted?", "sudo -u"):
        assert advice not in said


@LONG
def test_without_root_one_sentence_says_so(ready: tuple[Apart, str]) -> None:
    server, _ = ready
    said = server.run("setpriv", "--reuid=65534", PROGRAM, "install", *ASKED, code=78)
    assert (
        said
        == "Only root can install a service: run it with sudo. `--dry-run` shows to anybody what would be done.\n"
    )


@pytest.mark.parametrize(
    ("roots", "made_writable"),
    [
        (["/srv/casedrop/lung", "/srv/casedrop/heart"], ["/srv/casedrop"]),
        (["/srv/lung", "/srv/casedrop/heart"], ["/srv"]),
        (["/data/lung", "/srv/heart"], ["/data", "/srv"]),
        (["/lung"], ["/lung"]),
    ],
)
def test_the_service_may_write_where_the_roots_lie_and_never_everywhere(
    roots: list[str], made_writable: list[str]
) -> None:
    assert writable(map(Path, roots)) == list(map(Path, made_writable))


@pytest.mark.parametrize(
    "path", ["srv/x", "/srv/a b", "/srv/$(id)", "/srv/../etc", "/root/x/bin/casedrop", "/srv/%i"]
)
def test_places_that_a_unit_cannot_name_or_see_are_refused(path: str) -> None:
    assert wrong_place("The root", Path(path))
    assert not wrong_place("The root", Path("/srv/casedrop/lung"))


@pytest.mark.parametrize(
    ("found", "command"),
    [
        (THERE, f"install -D -m 644 /dev/stdin {installing.TOKEN_CONF} <<'END'\n{installing.SEALED_CONF}END"),
        (replace(THERE, sealed=False), f"rm -f {installing.TOKEN_CONF}"),
    ],
    ids=["encrypted", "plain"],
)
def test_a_token_that_is_there_is_one_the_service_finds_whatever_an_uninstall_took(
    found: Found, command: str
) -> None:
    steps = [step for step in installing.steps(AGAIN, found) if step.what == installing.WHERE]
    assert [step.command for step in steps] == [command]


def test_a_service_that_does_not_start_has_its_last_lines_shown() -> None:
    lines = "printf 'Failed to set up credentials\\nstatus=243/CREDENTIALS\\n'"
    with pytest.raises(ConfigurationError) as stopped:
        install._do_all([Step("The service runs.", "exit 1", why=lines)], "", print)
    assert stopped.value.problems[:5] == [
        "PROBLEM  The service runs. It ended with 1.",
        "The command was: exit 1",
        f"What it said last, by {lines}:",
        "  Failed to set up credentials",
        "  status=243/CREDENTIALS",
    ]
    start = [*installing.steps(replace(AGAIN, start=True), THERE)][-1]
    assert start.why.startswith("journalctl -u casedrop.service")


@pytest.mark.parametrize(
    ("checked", "start", "said"),
    [
        (
            "ATTENTION New rules. sudo systemctl reload casedrop",
            False,
            "New rules. sudo systemctl restart casedrop",
        ),
        (
            "ok       All is well.",
            False,
            "Not started by this. When the check above is content: sudo systemctl restart",
        ),
        ("ok       All is well.", True, "ok       All is well."),
    ],
)
def test_the_one_command_that_is_left_to_type_is_said_once(checked: str, start: bool, said: str) -> None:
    told: list[str] = []
    wish = replace(AGAIN, start=start)
    assert install._checked(f"echo '{checked}'; exit 3", wish, THERE, told.append) == 3
    text = "\n".join(told)
    assert said in text
    assert "reload" not in text
    assert text.count("systemctl") == (not start)


def test_what_would_be_done_is_shown_without_a_token_and_without_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "casedrop"
    program.touch()
    wish, found = replace(AGAIN, program=program), replace(THERE, token=False, sealed=False)
    monkeypatch.setattr("sys.stdin", (tmp_path / "empty").open("w+"))
    problems = [_refused(wish, found, dry_run=dry_run) for dry_run in (False, True)]
    assert ["nobody to ask for the token" in said for said in problems] == [True, False]


def _refused(wish: Wish, found: Found, *, dry_run: bool) -> str:
    try:
        install._expect_fitting(wish, found, None, dry_run=dry_run)
    except ConfigurationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("asked", "said"),
    [("lung3", "There is no drop lung3 yet. Name its study, too: --drop lung3=STUDY"), ("lung3=a b", "slug")],
)
def test_a_new_drop_without_a_study_is_asked_for_one_by_its_name(asked: str, said: str) -> None:
    drop = install._meant(asked, Path("/srv/casedrop"), None)
    assert said in _refused(replace(AGAIN, drops=(drop,)), THERE, dry_run=True)


def test_a_token_that_is_none_is_followed_by_the_command_that_gives_another(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("Bearer k3y")
    with pytest.raises(ConfigurationError, match=r"casedrop install --token-file FILE --start$"):
        install._token(replace(AGAIN, token_file=tmp_path / "token"))
