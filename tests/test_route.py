"""The way to the platform: proxies, certificates, addresses, and to whom the token goes."""

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
import trustme

from casedrop.errors import CasedropError, SetupProblem, Unavailable
from casedrop.grand_challenge import GrandChallenge, Upload
from casedrop.route import Clients, Route, of_environment
from casedrop.sandbox import Sandbox
from lab import Lab, mha
from proxy import Connecting

SECRET = "pass-word-canary"
UPLOAD = Upload("pk", "s3", "Initialized", "http://x/", 0.0)
Call = Callable[[GrandChallenge], Any]


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def served(authority: trustme.CA, tmp_path: Path, *names: str) -> Sandbox:
    certificate = tmp_path / "server.pem"
    authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(certificate))
    return Sandbox(import_seconds=0.1, certificate=str(certificate))


@pytest.fixture
def secure(authority: trustme.CA, tmp_path: Path) -> Iterator[Sandbox]:
    with served(authority, tmp_path, "127.0.0.1") as running:
        running.furnish()
        yield running


@pytest.fixture
def secure_lab(tmp_path: Path, secure: Sandbox, ca_file: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, secure)
    platform_says(made, f'ca_file = "{ca_file}"')
    yield made
    made.stop()


@pytest.fixture
def proxy() -> Iterator[Connecting]:
    with Connecting() as running:
        yield running


def platform_says(lab: Lab, text: str) -> None:
    lab.config.write_text(lab.config.read_text().replace("[platform]\n", f"[platform]\n{text}\n"))


def with_proxy(lab: Lab, proxy: Connecting, credentials: str) -> None:
    file = lab.top / "proxy-credentials"
    file.write_text(credentials)
    file.chmod(0o600)
    platform_says(lab, f'proxy = "{proxy.url}"\nproxy_credentials_file = "{file}"')


def client(sandbox: Sandbox, route: Route) -> GrandChallenge:
    return GrandChallenge(sandbox.url, lambda: sandbox.token, route=route)


@pytest.mark.long
def test_all_of_a_folder_goes_through_the_proxy_with_a_password_that_no_log_shows(
    secure_lab: Lab, proxy: Connecting
) -> None:
    lab = secure_lab
    proxy.wants = f"casedrop:{SECRET}"
    with_proxy(lab, proxy, proxy.wants)
    lab.move_in("P001", ct__mha=mha(8))
    lab.start("--debug", "--once")
    assert lab.process
    assert lab.process.wait(60) == 0
    assert lab.titles() == ["P001"]
    place = lab.sandbox.url.split("/")[2]
    assert {head.split()[1] for head in proxy.heads} == {place}
    assert lab.sandbox.token not in "".join(proxy.heads)
    assert SECRET not in lab.log.read_text()
    assert SECRET not in lab.command("check")


@pytest.mark.long
def test_a_proxy_that_refuses_the_password_is_named_and_not_the_platform(
    secure_lab: Lab, proxy: Connecting
) -> None:
    lab = secure_lab
    proxy.wants = "casedrop:right"
    with_proxy(lab, proxy, f"casedrop:{SECRET}")
    said = lab.command("check", code=78)
    assert f"The proxy {proxy.url[7:]} asks for a user and a password that are right" in said
    assert "proxy_credentials_file" in said
    assert SECRET not in said


def test_a_proxy_that_does_not_let_the_server_through_is_for_the_administrator(
    secure: Sandbox, ca_file: Path, proxy: Connecting
) -> None:
    proxy.refuses = 403
    way = client(secure, Route(proxy.url, None, ca_file))
    with pytest.raises(SetupProblem, match="does not let this server through to the platform"):
        way.create_upload("a.mha")
    with pytest.raises(Unavailable, match="does not let this server through to the storage"):
        way.put_part(f"{secure.url}part", [b"x"], 1, bytes(16))


def test_a_proxy_without_a_line_is_waited_for_also_where_something_is_written(
    secure: Sandbox, ca_file: Path, proxy: Connecting
) -> None:
    proxy.refuses = 502
    way = client(secure, Route(proxy.url, None, ca_file))
    with pytest.raises(Unavailable, match=r"does not reach the platform .*: it answered 502"):
        way.create_upload("a.mha")
    gone = client(secure, Route("http://127.0.0.1:9", None, ca_file))
    with pytest.raises(Unavailable, match=r"through the proxy 127.0.0.1:9: connection refused"):
        gone.create_upload("a.mha")


def test_the_environments_proxy_is_used_and_what_it_excepts_is_reached_directly(
    secure: Sandbox, ca_file: Path, proxy: Connecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    assert client(secure, Route(ca_file=ca_file)).whoami()
    assert len(proxy.heads) == 1
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for route in (Route(ca_file=ca_file), Route(proxy.url, None, ca_file)):
        assert client(secure, route).whoami()
        assert route.through(secure.url.split("/")[2]) == ""
        monkeypatch.setenv("NO_PROXY", "*")
        assert client(secure, route).whoami()
    assert len(proxy.heads) == 1


@pytest.mark.parametrize("excepted", ["[::1]", "::1", "localhost, [::1]"])
def test_an_ipv6_address_is_reached_directly_as_it_is_named_with_brackets_or_without(
    monkeypatch: pytest.MonkeyPatch, proxy: Connecting, excepted: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", excepted)
    with pytest.raises(Unavailable, match=r"No connection to the platform \(\[::1\]:9\): connection refused"):
        GrandChallenge("https://[::1]:9/api/v1/", lambda: SECRET).whoami()
    assert proxy.heads == []
    assert Route().through("127.0.0.1:9")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_what_is_not_encrypted_goes_through_no_proxy(
    sandbox: Sandbox, proxy: Connecting, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, proxy.url)
    monkeypatch.setenv(variable.lower(), proxy.url)
    assert client(sandbox, Route()).whoami()
    assert proxy.heads == []


def test_the_environments_proxy_may_stand_there_without_its_scheme(
    secure: Sandbox, ca_file: Path, proxy: Connecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.wants = f"casedrop:{SECRET}"
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.removeprefix("http://"))
    assert client(secure, Route(of_environment(), ("casedrop", SECRET), ca_file)).whoami()


@pytest.mark.parametrize("named", ["socks5://127.0.0.1:9", "ftp://127.0.0.1:9", "http://127.0.0.1:99999"])
def test_a_proxy_of_the_environment_that_cannot_be_used_is_said_in_words(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", named)
    assert "PROBLEM" not in lab.command("check")
    lab.config.write_text(lab.config.read_text().replace(lab.sandbox.url, "https://127.0.0.1:9/api/v1/"))
    for command in (["check"], ["run", "--as-root"]):
        said = lab.command(*command, code=78)
        assert "HTTPS_PROXY (or ALL_PROXY) in the environment: must be an address like" in said


def test_an_address_of_the_storage_without_encryption_gets_nothing_unless_it_is_this_machines(
    sandbox: Sandbox,
) -> None:
    way = client(sandbox, Route())

    def body() -> Iterator[bytes]:
        raise AssertionError("a byte was asked for")
        yield b""

    for address in ("http://192.0.2.1/part", f"http://me:{SECRET}@storage.example.org/part"):
        with pytest.raises(Unavailable, match="an address without encryption for its storage") as no:
            way.put_part(address, body(), 1, bytes(16))
        assert no.value.host == "storage"
        assert SECRET not in str(no.value)
        with pytest.raises(Unavailable, match="an address without encryption for its storage"):
            list(way.download(address))
    for address in ("/part", "http://[::1", "ftp://127.0.0.1/part", ""):
        with pytest.raises(Unavailable, match="an address of its storage that cannot be read"):
            way.put_part(address, body(), 1, bytes(16))


@pytest.mark.parametrize("status", [200, 301, 307, 401])
def test_an_odd_answer_in_the_storages_place_is_waited_out_and_blames_no_token(
    sandbox: Sandbox, status: int
) -> None:
    sandbox.faults.add(method="PUT", status=status)
    with pytest.raises(Unavailable, match=f"the storage.*{status}|The storage answered {status}") as no:
        client(sandbox, Route()).put_part(f"{sandbox.url}part", [b"x"], 1, bytes(16))
    assert no.value.host == "storage"


def test_a_date_without_a_zone_is_read_all_the_same(sandbox: Sandbox) -> None:
    retry = {"Retry-After": "Wed, 21 Oct 2099 07:28:00 -0000"}
    sandbox.faults.add(method="PUT", status=503, headers=retry)
    with pytest.raises(Unavailable) as no:
        client(sandbox, Route()).put_part(f"{sandbox.url}part", [b"x"], 1, bytes(16))
    assert no.value.retry_after


@pytest.mark.parametrize("status", [403, 407])
def test_a_page_in_place_of_the_platforms_answer_is_not_taken_for_its_no(
    sandbox: Sandbox, status: int
) -> None:
    calls: list[Call] = [
        lambda one: one.whoami(),
        lambda one: one.update_display_set("pk", {}),
        lambda one: one.presign(UPLOAD, [1]),
    ]
    for call in calls:
        sandbox.faults.add(status=status)
        with pytest.raises(SetupProblem, match="proxy"):
            call(client(sandbox, Route()))


def test_a_certificate_nobody_trusts_is_said_with_the_host_and_what_to_do(
    secure: Sandbox, ca_file: Path
) -> None:
    place = secure.url.split("/")[2]
    with pytest.raises(SetupProblem, match=r"not trusted .*platform.ca_file") as wrong:
        client(secure, Route()).whoami()
    assert f"No connection to the platform ({place}): " in str(wrong.value)
    with pytest.raises(Unavailable, match=r"not trusted .*platform.ca_file"):
        client(secure, Route()).put_part(f"{secure.url}part", [b"x"], 1, bytes(16))
    assert client(secure, Route(ca_file=ca_file)).whoami()


def test_a_certificate_of_another_host_is_said_so(
    authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    with (
        served(authority, tmp_path, "other.example.org") as running,
        pytest.raises(SetupProblem, match="its certificate is another host's"),
    ):
        client(running, Route(ca_file=ca_file)).whoami()


def test_mistakes_in_what_the_way_needs_are_said_together_and_show_no_password(lab: Lab) -> None:
    file = lab.top / "credentials"
    file.write_text(SECRET)
    file.chmod(0o600)
    no_ca = lab.top / "no-ca.pem"
    no_ca.write_text("no certificate")
    platform_says(lab, f'proxy_credentials_file = "{file}"\nca_file = "{no_ca}"')
    for command in (["check"], ["run", "--as-root"]):
        said = lab.command(*command, code=78)
        assert f"{file}: must hold the user and the password for the proxy, as user:password." in said
        assert (
            "platform.proxy_credentials_file: there is no proxy; set platform.proxy, or HTTPS_PROXY" in said
        )
        assert f"{no_ca}: holds no certificate." in said
        assert SECRET not in said


@pytest.mark.long
def test_check_tells_the_hosts_that_must_be_reachable(lab: Lab) -> None:
    place = lab.sandbox.url.split("/")[2]
    said = lab.command("check", "--offline")
    assert (
        f"Must be reachable: {place} (the platform) and the host of its storage, which is known after" in said
    )
    lab.move_in("P001", ct__mha=mha(8))
    assert lab.once() == 0
    assert f"and {place} (its storage, by the last upload)." in lab.command("check", "--offline")


@pytest.mark.long
def test_a_platform_may_have_an_ipv6_address(tmp_path: Path) -> None:
    with Sandbox(import_seconds=0.1, host="::1") as running:
        running.furnish()
        lab = Lab(tmp_path, running)
        lab.move_in("P001", ct__mha=mha(8))
        assert lab.once() == 0
        assert lab.titles() == ["P001"]
        assert "http://[::1]:" in lab.receipt(lab.done / "P001.receipt.json")["display_set"]


def test_there_are_no_more_connections_than_requests_at_once_whichever_threads_ask(sandbox: Sandbox) -> None:
    """Otherwise each thread that ever asked would keep one for good, closed by the platform long since."""
    made: list[httpx.Client] = []

    class Counted(Route):
        def client(self) -> httpx.Client:
            made.append(super().client())
            return made[-1]

    platform = GrandChallenge(sandbox.url, lambda: sandbox.token, route=Counted())
    of_platform_and_storage = list(made)
    for _ in range(5):
        asking = Thread(target=platform.whoami)
        asking.start()
        asking.join()
    assert made == of_platform_and_storage
    clients = Clients(Counted())
    with clients.lent() as one, clients.lent() as other:
        assert one is not other
    with clients.lent() as again:
        assert again is one
    platform.close()
    clients.close()
    assert all(one.is_closed for one in made)


class Elsewhere(BaseHTTPRequestHandler):
    """Another host, which keeps what it is told."""

    seen: list[dict[str, str]]

    def take(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        type(self).seen.append(dict(self.headers))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = do_PATCH = do_PUT = take  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[str]:
    Elsewhere.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api/v1/"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_of_the_platform_to_another_host_gets_nothing_at_all(
    sandbox: Sandbox, elsewhere: str, status: int
) -> None:
    calls: list[Call] = [
        lambda one: one.whoami(),
        lambda one: one.create_upload("a.mha"),
        lambda one: one.update_display_set("pk", {}),
        lambda one: one.put_part(f"{sandbox.url}part", [b"x"], 1, bytes(16)),
    ]
    for call in calls:
        sandbox.faults.add(status=status, headers={"Location": elsewhere})
        with pytest.raises(CasedropError):
            call(client(sandbox, Route()))
    assert Elsewhere.seen == []


def test_a_file_is_fetched_from_other_hosts_and_over_plain_lines_without_the_token(elsewhere: str) -> None:
    for url in (elsewhere.replace("http:", "https:"), "https://grand-challenge.org/api/v1/"):
        platform = GrandChallenge(url, lambda: SECRET)
        assert b"".join(platform.download(elsewhere)) == b"{}"
    assert len(Elsewhere.seen) == 2
    assert SECRET not in str(Elsewhere.seen)


def test_a_file_that_the_platform_has_elsewhere_is_fetched_there_without_the_token(
    sandbox: Sandbox, elsewhere: str
) -> None:
    sandbox.faults.add(method="GET", status=302, headers={"Location": elsewhere})
    found = client(sandbox, Route()).download(f"{sandbox.index}media/1/a.pdf")
    assert b"".join(found) == b"{}"
    assert [one.get("Authorization") for one in Elsewhere.seen] == [None]


def test_where_a_file_is_may_be_told_from_where_it_was_asked_for(sandbox: Sandbox, elsewhere: str) -> None:
    sandbox.faults.add(method="GET", status=302, headers={"Location": elsewhere.removeprefix("http:")})
    assert b"".join(client(sandbox, Route()).download(f"{sandbox.index}media/1/a.pdf")) == b"{}"
    sandbox.faults.add(method="GET", status=302)
    with pytest.raises(SetupProblem):
        list(client(sandbox, Route()).download(f"{sandbox.index}media/1/a.pdf"))
