"""Who may ask the running server, and how it ends."""

import http.client
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from review.clean_output import write_clean
from review.conftest import Review, launch

ADDRESSES = [
    "/",
    "/review.js",
    "/review.css",
    "/api/about",
    "/api/cases",
    "/api/case/0",
    "/api/people?text=p",
    "/picture/0/0/small",
]
DROP = {"decisions": [{"case": 0, "slot": 6, "decision": "dropped"}]}


@pytest.fixture
def running(review: Callable[..., Review], clean: Path) -> Review:
    return review(clean)


@pytest.fixture(scope="module")
def standing(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Review]:
    """A review of which no test changes anything."""
    table = tmp_path_factory.mktemp("standing") / "clean"
    write_clean(str(table), str(drawn))
    review = launch(table)
    yield review
    review.stop(signal.SIGKILL)


def test_only_who_knows_the_token_is_let_in(standing: Review) -> None:
    for address in ADDRESSES:
        assert requests.get(standing.base + address, timeout=10).status_code == 403, address
    assert requests.get(f"{standing.base}/?token=wrong", timeout=10).status_code == 403
    assert requests.get(f"{standing.base}/?token=%ff", timeout=10).status_code == 403
    session = standing.session()
    for address in ADDRESSES:
        assert session.get(standing.base + address, timeout=10).status_code == 200, address
    (cookie,) = session.cookies
    assert cookie.has_nonstandard_attr("HttpOnly") and cookie.get_nonstandard_attr("SameSite") == "Strict"
    assert cookie.name.endswith(str(standing.port))
    assert requests.get(standing.base, cookies={cookie.name: "wrong"}, timeout=10).status_code == 403
    refused = requests.post(f"{standing.base}/api/decide", json=DROP, headers={"origin": standing.base}, timeout=10)
    assert refused.status_code == 403


def status(running: Review, host: str) -> int:
    """How a request with the right token under a name is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    connection.putrequest("GET", running.address.removeprefix(running.base), skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    code = connection.getresponse().status
    connection.close()
    return code


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:80",
        "",
        "[evil]",
        "[",
        "127.0.0.1@evil",
        "[::1].evil.com",
        "[::1].evil.com:80",
        "[::1]evil.com",
        "[::1",
        "[127.0.0.1]",
        "[::1%25eth0.evil.com]",
        "::1",
        "127.0.0.1:80:80",
        "127.0.0.1:80.evil.com",
        "localhost:80@evil.com",
        "localhost:evil",
        "user@localhost",
        "localhost..",
        "evil.com#localhost",
        "evil.com/localhost",
        "127.1",
    ],
)
def test_a_foreign_name_is_refused(standing: Review, host: str) -> None:
    assert status(standing, host) == 403


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost:9000", "LOCALHOST", "localhost.", "[::1]:80", "[::1]", "[fe80::1]:1", "10.0.0.7:8712"],
)
def test_our_own_names_are_answered(standing: Review, host: str) -> None:
    assert status(standing, host) == 200


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:1"])
def test_only_the_page_itself_may_decide(running: Review, clean: Path, origin: str | None) -> None:
    session = running.session()
    refused = session.post(f"{running.base}/api/decide", json=DROP, headers={"origin": origin}, timeout=10)
    assert refused.status_code == 403 and not (clean / "review.json").exists()
    assert session.post(f"{running.base}/api/decide", json=DROP, timeout=10).status_code == 200
    assert (clean / "review.json").exists()


def test_the_browser_is_bound_by_headers(standing: Review) -> None:
    for address in (*ADDRESSES, "/nothing", "/?token=wrong"):
        headers = standing.session().get(standing.base + address, timeout=10).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


@pytest.mark.parametrize(
    "address",
    [
        "/picture/0/99/small",
        "/picture/99/0/small",
        "/picture/-1/0/small",
        "/picture/0/0/huge",
        "/picture/0/0/suggested",
        "/picture/0/0/..%2f..%2f",
        "/api/case/10",
        "/api/case/1e9",
        "/etc/passwd",
    ],
)
def test_only_photos_of_the_table_can_be_fetched(standing: Review, address: str) -> None:
    assert standing.session().get(standing.base + address, timeout=10).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b'{"decisions": 1}', b'{"decisions": [1]}', b'{"decisions": [{}]}', b"[" * 100_000,
        b'{"decisions": [{"case": 99, "slot": 0, "decision": "kept"}]}',
        b'{"decisions": [{"case": 0, "slot": -1, "decision": "kept"}]}',
        b'{"decisions": [{"case": 0, "slot": 0, "decision": "burnt"}]}',
        b'{"decisions": [{"case": 0, "slot": 0, "decision": "moved"}]}',
        b'{"decisions": [{"case": 0, "slot": 0, "decision": "moved", "to": " "}]}',
        b'{"decisions": [{"case": 0, "slot": 0, "decision": "moved", "to": 7}]}',
        b'{"decisions": [{"case": 0, "slot": 0, "decision": "kept"}, {"case": 0, "slot": 99, "decision": "kept"}]}',
        b" " * (1 << 20) + b"{}",
    ],
    ids=range(15),
)  # fmt: skip
def test_a_request_that_makes_no_sense_changes_nothing(standing: Review, body: bytes) -> None:
    session = standing.session()
    refused = session.post(f"{standing.base}/api/decide", data=body, timeout=10)
    assert refused.status_code in (400, 404) and refused.json()["error"]
    about = session.get(f"{standing.base}/api/about", timeout=10).json()
    assert about["progress"]["photos_decided"] == 0 and not Path(about["file"]).exists()


def test_a_file_that_another_program_changed_is_not_overwritten(running: Review, clean: Path) -> None:
    session, file = running.session(), clean / "review.json"
    assert session.post(f"{running.base}/api/decide", json=DROP, timeout=10).ok
    file.write_text("mine")
    refused = session.post(f"{running.base}/api/decide", json=DROP, timeout=10)
    assert refused.status_code == 503 and "changed by another program" in refused.json()["error"]
    assert file.read_text() == "mine"


def test_without_a_token_it_warns(review: Callable[..., Review], clean: Path) -> None:
    running = review(clean, "--no-token")
    assert any(line.startswith("Warning: without a token") for line in running.said)
    assert requests.get(f"{running.base}/api/about", timeout=10).ok
    assert requests.post(f"{running.base}/api/decide", json=DROP, timeout=10).status_code == 403


def test_other_machines_are_let_in_with_a_warning(review: Callable[..., Review], clean: Path) -> None:
    running = review(clean, "--host", "0.0.0.0")
    assert any("can be reached from other machines" in line for line in running.said)
    assert running.session().get(running.base, timeout=10).ok


def test_it_ends_with_what_to_do_next(running: Review, clean: Path) -> None:
    assert running.session().post(f"{running.base}/api/decide", json=DROP, timeout=10).ok
    assert running.stop(signal.SIGINT) == 0
    text = "".join(running.said)
    assert f"1 of 10 cases done. 1 decision in {clean}/review.json" in text and "Traceback" not in text
    assert running.said[-1].startswith("Apply them: python -m ray_jobs.clean configs/clean.yaml --photos p")


def test_sigterm_says_the_same_and_no_file_that_is_not_there_is_to_be_applied(running: Review, clean: Path) -> None:
    assert running.stop(signal.SIGTERM) == 143
    assert "nothing to apply" in "".join(running.said)
    assert not (clean / "review.json").exists()


def test_a_port_in_use_is_told(review: Callable[..., Review], running: Review, clean: Path) -> None:
    with pytest.raises(AssertionError, match=r"port: cannot listen at 127.0.0.1:\d+ \(Address already in use\)"):
        review(clean, "--port", str(running.port))


def test_it_listens_at_this_machine_only(standing: Review) -> None:
    assert standing.base.startswith("http://127.0.0.1:")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.2", standing.port)) != 0


def test_text_that_no_file_can_hold_is_refused_and_spoils_nothing(review: Callable[..., Review], clean: Path) -> None:
    running, file = review(clean), clean / "review.json"
    session, headers = running.session(), {"origin": running.base, "content-type": "application/json"}

    def decide(body: bytes) -> int:
        return session.post(f"{running.base}/api/decide", data=body, headers=headers, timeout=10).status_code

    moved = rb'{"decisions": [{"case": 0, "slot": 6, "decision": "moved", "to": %s}]}'
    for hostile in (rb'"\ud800"', rb'"a\udfff"', b'"' + b"x" * 2000 + b'"'):
        assert decide(moved % hostile) == 400
    assert decide(rb'{"decisions": [{"case": 0, "slot": 6, "decision": "\ud800", "to": null}]}') == 400
    assert decide(b"[" * 100_000) == 400 and decide(b'{"decisions": ' + b"[" * 40 + b"]" * 40 + b"}") == 400
    assert not file.exists()
    assert decide(moved % rb'"\ud83d\ude00 q"') == 200  # a pair of halves is a character
    assert "\U0001f600 q" in file.read_text(encoding="utf-8")
