"""gcapi's newest release, as its users call it. Runs in an environment of its own: it pins an old httpx."""

import sys
from pathlib import Path

import gcapi

from timed import timed


def client(url: str) -> gcapi.Client:
    return gcapi.Client(token="0" * 64, base_url=url)


def files(url: str, folder: str) -> None:
    """Every file of the folder, by the call that gcapi has for several."""
    with client(url) as platform:
        paths = sorted(Path(folder).iterdir())
        opened = [path.open("rb") for path in paths]
        names = [path.name for path in paths]
        timed(lambda: platform.uploads.upload_multiple_fileobj(file_objects=opened, filenames=names))


def cases(url: str, top: str) -> None:
    """Each folder as a display set, and looked at until all of it is there: one after the other, as scripts do."""
    with client(url) as platform:
        timed(lambda: _all(platform, sorted(Path(top).iterdir())))


def _all(platform: gcapi.Client, folders: list[Path]) -> None:
    for folder in folders:
        _case(platform, folder)


def _case(platform: gcapi.Client, folder: Path) -> None:
    files = [path for path in sorted(folder.iterdir()) if path.name != "score.json"]
    values = [gcapi.SocketValueSpec(socket_slug="ct-image", files=files)]
    if (folder / "score.json").exists():
        values.append(gcapi.SocketValueSpec(socket_slug="some-score", file=folder / "score.json"))
    made = platform.add_case_to_reader_study(reader_study_slug="lung-2026", values=values, title=folder.name)
    while len(platform.reader_studies.display_sets.detail(pk=made.pk).values) < len(values):
        pass


if __name__ == "__main__":
    {"files": files, "cases": cases}[sys.argv[1]](*sys.argv[2:])
