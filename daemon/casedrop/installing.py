"""What `casedrop install` does to a server, each step the very command a person would type. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import join, quote

CONFIG = Path("/etc/casedrop/casedrop.toml")
PIECES = CONFIG.parent / "drops.d"
TOKEN = CONFIG.parent / "token"
SEALED = CONFIG.parent / "token.cred"
STATE = Path("/var/lib/casedrop")
UNITS = Path("/etc/systemd/system")
UNIT = "casedrop.service"
SHIPPED_UNITS = (UNIT, "casedrop@.service")
MARK = '# From "casedrop install", which replaces this file: changes of your own go into casedrop.service.d/.'
OVERRIDES = UNITS / f"{UNIT}.d"
ROOTS_CONF = OVERRIDES / "roots.conf"
TOKEN_CONF = OVERRIDES / "10-token.conf"
"""Early in the order: it empties LoadCredential=, to which an administrator's own file may add."""
SETTINGS = {
    "sysusers": Path("/etc/sysusers.d/casedrop.conf"),
    "tmpfiles": Path("/etc/tmpfiles.d/casedrop.conf"),
}
ACCOUNT = "casedrop"
OPENED = f"systemd-creds decrypt --name=casedrop-token {SEALED} - 2>/dev/null || cat {TOKEN}"
JOURNAL = f"journalctl -u {UNIT} -n 10 -o cat --no-pager"
SEALED_CONF = f"[Service]\nLoadCredential=\nLoadCredentialEncrypted=casedrop-token:{SEALED}\n"
WHERE = "Where the service finds its token."
RELOAD = "systemctl reload casedrop"
RESTART = "systemctl restart casedrop"
RENEW = "casedrop install --token-file FILE --start"
ASK = "systemd-ask-password -n 'API token of Grand Challenge:' |"

_HIDDEN_FROM_SERVICE = ("/home", "/root", "/run/user", "/tmp", "/var/tmp", "/dev")  # noqa: S108
_PLAIN_PATH = re.compile(r"/[\w./@+-]+", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Step:
    """`secret` is how the token comes to its standard input when a person types it.

    Where the command fails, `instead` is done and `said`; without both the installation stops there, and the
    last lines of what `why` prints are shown.
    """

    what: str
    command: str
    secret: str = ""
    instead: tuple["Step", ...] = ()
    said: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class NewDrop:
    """A drop that is asked for; `known` if the configuration has it, its root as there."""

    name: str
    study: str
    root: Path
    known: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """`program` is what the unit starts, `shipped` the folder of the units that came with it."""

    program: Path
    shipped: Path
    drops: tuple[NewDrop, ...]
    url: str
    researchers: str
    token_file: Path | None
    start: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What there is on the server: `roots` and `state` as configured, `token` whether one is kept, `sealed` how.

    `own_token` tells that the configuration names a token file, `aside` the units that somebody else wrote.
    """

    config: bool
    roots: tuple[Path, ...]
    state: Path
    token: bool
    sealed: bool
    own_token: bool
    aside: tuple[str, ...]
    instances: tuple[str, ...]
    runs_systemd: bool
    seals: bool
    acls: bool


def wrong_name(what: str, name: str) -> str:
    """Why that name cannot stand in commands and files; "" if it can."""
    return "" if _NAME.fullmatch(name) else f"{what} must be letters, digits, - and _, not - at first."


def wrong_place(what: str, path: Path) -> str:
    """Why the service could not use that path; "" if it can."""
    if not _PLAIN_PATH.fullmatch(str(path)) or ".." in path.parts:
        return f'{what} must be a whole path that starts with "/", of letters, digits and ._@+- alone.'
    for hidden in map(Path, _HIDDEN_FROM_SERVICE):
        if path.is_relative_to(hidden):
            return f"{what} lies under {hidden}, which the service cannot see."
    return ""


def steps(wish: Wish, found: Found) -> Iterator[Step]:
    """The whole installation, in order; each step may be done again."""
    yield from _units(wish, found)
    yield from _settings(wish)
    yield from _configuration(wish, found)
    for drop in wish.drops:
        yield from _root(wish, found, drop)
    yield from _sandbox(wish, found)
    yield from _token(wish, found)
    yield from _enabled(wish, found)


def piece(drop: NewDrop) -> Path:
    """The file of a drop's rules."""
    return PIECES / f"{drop.name}.toml"


def rules(drop: NewDrop) -> str:
    """What stands in it at first."""
    return PIECE.format(name=drop.name, root=drop.root, study=drop.study)


def check(program: Path, *, own_token: bool) -> str:
    """The last command: as the service's user, who may do less than root."""
    run = join(["runuser", "-u", ACCOUNT, "--", str(program), "check"])
    if own_token:
        return run
    return f'CASEDROP_PLATFORM__TOKEN="$({OPENED})" {run}'


def removal(found: Found) -> Iterator[Step]:
    """Takes away what the installation put there, and nothing of the lab's."""
    now = ["--now"] if found.runs_systemd else []
    disable = join(["systemctl", "disable", *now, UNIT, *found.instances])
    yield Step("Stops the service, now and at each boot.", f"[ ! -e {UNITS / UNIT} ] || {disable}")
    files = [*(UNITS / unit for unit in SHIPPED_UNITS), ROOTS_CONF, TOKEN_CONF, *SETTINGS.values()]
    gone = join(["rm", "-f", *map(str, files)])
    yield Step("The units and what belongs to them.", f"{gone}\n{_if_empty(OVERRIDES)}")
    if found.runs_systemd:
        yield Step("systemd reads its units again.", "systemctl daemon-reload")


def left(found: Found, program: Path) -> list[str]:
    """What the removal left, and how each goes: (what, command) as lines."""
    roots = [f"  {root}: the folders of the share; yours to decide" for root in found.roots]
    return [
        "Left as it was:",
        *roots,
        f"  {found.state}: journal, ledger and keys. To remove: rm -r {quote(str(found.state))}",
        f"  {CONFIG.parent}: the configuration and the token. To remove: rm -r {CONFIG.parent}",
        f"  the account {ACCOUNT}, whose files these are. To remove: userdel {ACCOUNT}; groupdel {ACCOUNT}",
        f"  the program. To remove a virtual environment: rm -r {quote(str(program.parent.parent))}",
    ]


def writable(paths: Iterable[Path]) -> list[Path]:
    """The fewest folders that hold these, each with its neighbours: two mounts in a root would be EXDEV."""
    parents = {path if path.parent == Path("/") else path.parent for path in paths}
    return sorted(one for one in parents if not parents.intersection(one.parents))


def _units(wish: Wish, found: Found) -> Iterator[Step]:
    for name in found.aside:
        there = UNITS / name
        yield Step(f"Keeps {name} of before.", join(["mv", str(there), f"{there}.before-install"]))
    edits = ["-e", f"1i {MARK}", "-e", f"s|^ExecStart=[^ ]*|ExecStart={wish.program}|"]
    commands = [
        f"{join(['sed', *edits, str(wish.shipped / name)])} > {UNITS / name}" for name in SHIPPED_UNITS
    ]
    yield Step("The units: one service, and one for each of several configurations.", "\n".join(commands))


def _settings(wish: Wish) -> Iterator[Step]:
    for name, what, further in (
        ("sysusers", "The service's account, and the group of those who manage drops.", []),
        ("tmpfiles", "/etc/casedrop, and drops.d in it for the group.", ["--create"]),
    ):
        there = str(SETTINGS[name])
        copy = join(["install", "-D", "-m", "644", str(wish.shipped / f"casedrop.{name}"), there])
        yield Step(what, f"{copy}\n{join([f'systemd-{name}', *further, there])}")
    make = ["install", "-d", "-m", "710", "-o", ACCOUNT, "-g", ACCOUNT, str(STATE)]
    yield Step("The state directory, if there is none.", f"[ -d {STATE} ] || {join(make)}")


def _configuration(wish: Wish, found: Found) -> Iterator[Step]:
    """What is there is kept. The file comes behind its pieces: without any drop it could not be read again."""
    for drop in wish.drops:
        if not drop.known:
            keep = _keep(piece(drop), rules(drop), "660")
            yield Step(f'The rules of "{drop.name}", to be edited.', keep)
    if not found.config:
        yield Step("The configuration.", _keep(CONFIG, SKELETON.format(url=wish.url), "640"))


def _root(wish: Wish, found: Found, drop: NewDrop) -> Iterator[Step]:
    """People may write in drop/ and failed/, the service alone in the root and done/."""
    root = drop.root
    ours, theirs = [root, root / "done"], [root / "drop", root / "failed"]
    yield Step(
        f'The root of "{drop.name}", if there is none.',
        join([str(wish.program), "init", "--config", str(CONFIG), "--drop", drop.name]),
    )
    owned = map(str, [*ours, *theirs, root / ".casedrop.json"])
    commands = [
        join(["chown", "-h", f"{ACCOUNT}:{ACCOUNT}", *owned]),
        join(["chmod", "2750", *map(str, ours)]),
        join(["chmod", "2770", *map(str, theirs)]),
    ]
    yield Step("Who may write: all of the group in drop/ and failed/.", "\n".join(commands))
    if found.acls:
        yield Step(
            "What people put there can be moved by the service, whoever made it.",
            "\n".join(_acls(ours, theirs, wish.researchers)),
            said=f"{root}: {WITHOUT_ACLS}",
        )


WITHOUT_ACLS = (
    "There are no ACLs (no setfacl, of Debian's package acl, or a file system without them), so only the group's "
    "bits help: the share must make folders writable for the group (`force group` and `force directory mode` in "
    "config/smb.conf.example)."
)


def _acls(ours: list[Path], theirs: list[Path], researchers: str) -> list[str]:
    everyone = ["u::rwx", "g::rwx", "o::---", f"u:{ACCOUNT}:rwx", f"g:{ACCOUNT}:rwx"]
    more = [f"g:{researchers}:rwx"] if researchers else []
    defaults = ",".join(f"d:{entry}" for entry in [*everyone, *more])
    commands = [join(["setfacl", "-m", ",".join([defaults, *more]), *map(str, theirs)])]
    if researchers:
        readers = f"g:{researchers}:rx,d:u::rwx,d:g::rx,d:o::---,d:g:{researchers}:rx"
        commands.append(join(["setfacl", "-m", readers, *map(str, ours)]))
    return commands


def _sandbox(wish: Wish, found: Found) -> Iterator[Step]:
    state = [] if found.state.is_relative_to(STATE) else [found.state / "journal"]
    roots = {*found.roots, *(drop.root for drop in wish.drops)}
    paths = " ".join(f"-{path}" for path in writable([*roots, *state]))
    text = (
        f"# What the roots lie in: no folder moves between two mounts.\n[Service]\nReadWritePaths={paths}\n"
    )
    yield Step("Where the service may write.", _write(ROOTS_CONF, text))


def _token(wish: Wish, found: Found) -> Iterator[Step]:
    """Encrypted by this machine's key, not its TPM, whose state changes with the firmware."""
    if found.own_token:
        text = "# The configuration names a token file.\n[Service]\nLoadCredential=\n"
        yield Step("No token by systemd, since the configuration names a file.", _write(TOKEN_CONF, text))
    if found.own_token:
        return
    if found.token and not wish.token_file:
        there = _write(TOKEN_CONF, SEALED_CONF) if found.sealed else join(["rm", "-f", str(TOKEN_CONF)])
        yield Step(WHERE, there)
        return
    source = f"< {quote(str(wish.token_file))}" if wish.token_file else ASK
    plain = (
        Step("No encrypted token.", join(["rm", "-f", str(TOKEN_CONF), str(SEALED)])),
        Step("The token, for root alone.", join(["install", "-m", "600", "/dev/stdin", str(TOKEN)]), source),
    )
    if not found.seals:
        yield from plain
        return
    yield Step(WHERE, _write(TOKEN_CONF, SEALED_CONF))
    seal = ["systemd-creds", "encrypt", "--with-key=host", "--name=casedrop-token", "-", str(SEALED)]
    yield Step(
        "The token, encrypted by this machine's key.",
        f"(umask 077; {join(seal)})",
        source,
        plain,
        f"systemd-creds cannot encrypt here, so {TOKEN} holds the token in plain, for root alone.",
    )


def _enabled(wish: Wish, found: Found) -> Iterator[Step]:
    if found.runs_systemd:
        yield Step("systemd reads its units again.", "systemctl daemon-reload")
    yield Step("The service starts at each boot.", f"systemctl enable {UNIT}")
    if wish.start and found.runs_systemd:
        yield Step("The service starts by what is installed now.", f"systemctl restart {UNIT}", why=JOURNAL)


def _write(path: Path, text: str) -> str:
    return f"install -D -m 644 /dev/stdin {path} <<'END'\n{text}END"


def _keep(path: Path, text: str, mode: str) -> str:
    """The group's, unless there is one."""
    return f"[ -e {path} ] || install -m {mode} -g {ACCOUNT} /dev/stdin {path} <<'END'\n{text}END"


def _if_empty(path: Path) -> str:
    return f"[ ! -d {path} ] || rmdir --ignore-fail-on-non-empty {path}"


SKELETON = """\
# Casedrop's settings. Every option, with its default: config/casedrop.toml in the sources.
# After a change: casedrop check, then: systemctl reload casedrop

[platform]
url = "{url}"
# The token is the credential casedrop-token, which `casedrop install --token-file FILE` replaces.

# Each drop stands in a file of its own in drops.d/, which the group casedrop may write.
"""

PIECE = """\
# The rules of one drop; recipes from wish to rule: docs/RULES.md in the sources.
# After a change: casedrop plan {name}, then: systemctl reload casedrop

[[drops]]
name = "{name}"
root = "{root}"
reader_study = "{study}"
# Or, in its place, an archive:
# archive = "{study}"
# Nothing is sent or moved while this line stands: `casedrop status` says what each folder would become.
mode = "rehearse"

# One of these for each socket of the reader study that is to be filled, by its slug on Grand Challenge;
# `casedrop check` says of each whether it is there, and what it holds.
[[drops.sockets]]
socket = "generic-medical-image"
files = ["**/*.mha", "**/*.nii.gz"]
"""
