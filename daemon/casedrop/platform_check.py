"""What `casedrop check` asks of Grand Challenge; nothing there is changed."""

from collections.abc import Iterator, Mapping

from casedrop import reach
from casedrop.answers import Meaning
from casedrop.check import check_platform
from casedrop.config import Settings, read_token
from casedrop.errors import CasedropError, ConfigurationError, Refused
from casedrop.findings import Finding, attention, ok, problem
from casedrop.grand_challenge import GrandChallenge, ReaderStudy
from casedrop.model import Drop, SocketKind
from casedrop.trying import tried

SKEW_SECONDS = 300
ASK_EDITORS = "Ask its editors to add this user as an editor."


def platform_findings(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """The token and its user, the clocks, and of each drop the reader study or archive and the sockets."""
    token = ""

    def read() -> str:
        nonlocal token
        token = read_token(settings, environ)
        return ""

    if wrong := tried("token", read):
        return wrong
    try:
        platform = reach.platform(settings, lambda: token)
    except ConfigurationError:
        return []  # said with the hosts
    found = tried("token", lambda: f"The token belongs to {platform.whoami()}.")
    found += clock_findings(platform.ahead)
    for drop in settings.drops:
        found += tried(f"drop {drop.name}", lambda drop=drop: _of_drop(platform, drop))  # type: ignore[misc]
    return found


def clock_findings(ahead: float | None) -> Iterator[Finding]:
    """`ahead` is by how many seconds the platform's clock is ahead of this one, None where it does not tell."""
    if ahead is None:
        return
    if abs(ahead) < SKEW_SECONDS:
        yield ok("clock", "This server's clock is that of Grand Challenge, within five minutes.")
        return
    by = f"{round(abs(ahead) / 60)} minutes {'behind' if ahead > 0 else 'ahead of'}"
    yield attention(
        "clock",
        f"This server's clock is {by} Grand Challenge's: times in receipts, ledger and log are wrong by it.",
        "timedatectl set-ntp true",
    )


def _of_drop(platform: GrandChallenge, drop: Drop) -> Iterator[Finding]:
    study, kinds = check_platform(platform, drop)
    sockets = ", ".join(f"{slug}: {_kind_words(kind)}" for slug, kind in kinds.items())
    what = f"drop {drop.name}"
    goes_to = f"{'archive' if study.archive else 'reader study'} {study.url}"
    yield ok(what, f'Drop "{drop.name}": {goes_to} with {sockets}.')
    yield from _editable(platform.of(archive=study.archive), what, study)


def _editable(platform: GrandChallenge, what: str, study: ReaderStudy) -> Iterator[Finding]:
    """An empty change of a display set changes nothing, and is refused to who may only look (recording 19)."""
    first = next(platform.display_sets(study.pk), None)
    if first is None:
        yield ok(
            what,
            f"{study.slug} holds nothing yet: whether this user may edit it shows with the first folder.",
        )
        return
    try:
        platform.update_display_set(first.pk, {})
    except Refused as no:
        if no.meaning in (Meaning.FORBIDDEN, Meaning.GONE):
            yield problem(
                what, f"This token's user may see {study.slug}, but not change what is in it.", ASK_EDITORS
            )
            return
    except CasedropError as error:
        yield problem(what, str(error), "Try again later.", later=True)
        return
    yield ok(what, f"This token's user may change what is in {study.slug}.")


def _kind_words(kind: SocketKind) -> str:
    return kind.kind if kind.kind == kind.super_kind else f"{kind.super_kind} ({kind.kind})"
