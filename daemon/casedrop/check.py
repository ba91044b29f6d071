"""Whether a drop's set-up is what its rules need: the token's user, the reader study or archive, the sockets."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from casedrop.answers import Meaning
from casedrop.errors import Refused, SetupProblem
from casedrop.group import check_rules
from casedrop.model import Drop, SocketKind
from casedrop.series_rules import IMAGE_SET

if TYPE_CHECKING:
    from casedrop.grand_challenge import GrandChallenge, ReaderStudy


def check_platform(platform: "GrandChallenge", drop: Drop) -> "tuple[ReaderStudy, dict[str, SocketKind]]":
    """The drop's reader study and sockets. Raises SetupProblem with everything that is wrong."""
    if platform.whoami() == "AnonymousUser":
        raise SetupProblem("Grand Challenge saw no token in the request: check how the token is given.")
    platform = platform.of(archive=bool(drop.archive))
    study = platform.reader_study(drop.archive or drop.reader_study)
    kinds = {rule.socket: platform.socket(rule.socket) for rule in drop.sockets}
    problems = [*check_rules(drop, kinds), *grid_mistakes(drop, kinds)]
    if study is None:
        problems.insert(
            0,
            f"There is no {drop.goes_to}, or this token's user may not see it. Check the slug in the "
            "configuration, or ask its editors to add the user as an editor.",
        )
    if problems or study is None:
        raise SetupProblem(*problems)
    _expect_listing(platform, study)
    return study, {slug: kind for slug, kind in kinds.items() if kind}


def grid_mistakes(drop: Drop, kinds: Mapping[str, SocketKind | None]) -> list[str]:
    """What same_grid_as compares, and what it compares with, must be images; so must what image_of names."""
    pairs = [
        (rule, slug, "same_grid_as compares images")
        for rule in drop.sockets
        if rule.same_grid_as
        for slug in (rule.socket, rule.same_grid_as)
    ]
    pairs += [
        (rule, rule.image_of, "image_of names the socket of an image")
        for rule in drop.sockets
        if rule.image_of
    ]
    return [
        f'drops "{drop.name}", socket "{rule.socket}": {wanted}, and {slug} holds {kind.kind}.'
        for rule, slug, wanted in pairs
        if (kind := kinds.get(slug)) and (kind.super_kind != "Image" or kind.kind == IMAGE_SET)
    ]


def _expect_listing(platform: "GrandChallenge", study: "ReaderStudy") -> None:
    try:
        next(platform.display_sets(study.pk), None)
    except Refused as no:
        if no.meaning in (Meaning.FORBIDDEN, Meaning.GONE):
            raise SetupProblem(f'What is in "{study.slug}" may not be listed.') from None
        raise
