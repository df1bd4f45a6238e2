"""Nobody locks others out: connections, slow clients, logins that ask much (real sockets)."""

import base64
import socket
import threading
import time

import pytest

from storage_plugin.http import channels
from storage_plugin.http.middleware import IS_GONE
from tests.storage_plugin.conftest import at
from tests.storage_plugin.dav import event
from tests.storage_plugin.listening import Line, Stoppable, listening
from tests.storage_plugin.test_processes import until


class Echo:
    """A WSGI application: answers with the path; `/wait` waits, `/big` is large."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.seen: list[str] = []
        self.inside = 0
        self.most = 0
        self._lock = threading.Lock()

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        with self._lock:
            self.seen.append(path)
            self.inside += 1
            self.most = max(self.most, self.inside)
        if environ.get("gateway.too_many"):
            body, status = b"", "503 Service Unavailable"
        else:
            if path == "/wait":
                self.go_on.wait(20)
            body, status = (b"x" * 30_000_000 if path == "/big" else path.encode()), "200 OK"
        with self._lock:
            self.inside -= 1
        start_response(status, [("Content-Length", str(len(body)))])
        return [body]


@pytest.fixture
def echo():
    application = Echo()
    yield application
    application.go_on.set()


def answers(line: Line) -> bool:
    return line.ask("/hello").answer()[0] == 200


# --- room ---


def test_idle_connections_lock_nobody_out(echo):
    """More than there is room for: the longest idle go, whoever comes is answered."""
    with listening(echo, most=20) as port:
        idle = [Line(port) for _ in range(30)]
        assert all(line.closes_within(5) for line in idle[:10])
        newcomer = Line(port)
        assert answers(newcomer)
        assert not idle[-1].is_closed()
        assert answers(idle[-1])


def test_the_longest_idle_goes_not_the_oldest(echo):
    with listening(echo, most=3) as port:
        old, idle, third = Line(port), Line(port), Line(port)
        assert answers(third)
        assert answers(old)
        assert answers(Line(port))
        assert idle.closes_within(5)
        assert answers(old)


def test_one_that_is_being_answered_is_never_closed_for_room(echo):
    with listening(echo, most=4) as port:
        busy = Line(port).ask("/wait")
        assert until(lambda: echo.seen == ["/wait"])
        crowd = [Line(port) for _ in range(12)]
        assert all(line.closes_within(5) for line in crowd[:9])
        echo.go_on.set()
        assert busy.answer()[0] == 200


def test_half_a_request_keeps_no_place_from_others(echo):
    """Some have begun a head, one is at work: when no one is idle the oldest head goes."""
    with listening(echo, most=5) as port:
        slow = [Line(port).send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ") for _ in range(4)]
        busy = Line(port).ask("/wait")
        assert until(lambda: echo.seen == ["/wait"])
        newcomer = Line(port)
        assert slow[0].closes_within(5)
        echo.go_on.set()
        assert busy.answer()[0] == 200
        assert answers(newcomer)
        assert not slow[-1].is_closed()


def test_an_address_with_too_many_takes_room_from_itself_alone(echo, monkeypatch):
    monkeypatch.setattr(channels, "PER_ADDRESS", 10)
    with listening(echo) as port:
        other = Line(port, "127.0.0.3")
        greedy = [Line(port, "127.0.0.2") for _ in range(25)]
        assert all(line.closes_within(5) for line in greedy[:15])
        assert not any(line.is_closed() for line in [other, *greedy[15:]])
        assert answers(greedy[-1])
        assert answers(other)


def test_a_trusted_proxy_has_no_limit_of_its_own(echo, monkeypatch):
    """Everybody comes from its address."""
    monkeypatch.setattr(channels, "PER_ADDRESS", 10)
    with listening(echo, trusted=("127.0.0.2",)) as port:
        lines = [Line(port, "127.0.0.2") for _ in range(25)]
        assert all(answers(line) for line in lines)


# --- clocks ---


@pytest.fixture
def quick(monkeypatch):
    """Clocks of a second."""
    monkeypatch.setattr(channels, "LOOK_EVERY_S", 0)
    for name in ("HEAD_S", "STALLED_S", "IDLE_S"):
        monkeypatch.setattr(channels, name, 1.0)
    monkeypatch.setattr(channels, "BODY_S", 2.0)


BODY = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc"


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n", BODY])
def test_a_client_that_falls_silent_is_let_go(echo, quick, begun):
    with listening(echo) as port:
        assert Line(port).send(begun).closes_within(10)
        assert echo.seen == []


@pytest.mark.parametrize("begun", [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", BODY])
def test_a_client_that_sends_byte_by_byte_is_let_go(echo, quick, begun):
    with listening(echo) as port:
        line, ends = Line(port).send(begun), time.monotonic() + 10
        while not line.is_closed() and time.monotonic() < ends:
            line.send(b"a")
            time.sleep(0.1)
        assert line.is_closed()
        assert echo.seen == []


def test_a_request_under_way_may_take_as_long_as_it_takes(echo, quick):
    with listening(echo) as port:
        line = Line(port).ask("/wait")
        assert not line.closes_within(2.5)
        echo.go_on.set()
        assert line.answer()[0] == 200
        assert answers(line)


def test_readers_that_take_nothing_hold_no_thread_and_are_let_go(echo, quick):
    """Answers larger than any buffer, two of them asked for at once, to one thread."""
    with listening(echo, threads=1) as port:
        slow = Line(port).send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        assert until(lambda: echo.seen.count("/big") == 2)
        assert answers(Line(port))
        assert until(slow_is_gone(slow), 15)


def slow_is_gone(slow: Line):
    """Only sending shows it: what the server sent before is still to be read."""

    def gone() -> bool:
        try:
            slow.send(b"\r\n")
        except OSError:
            return True
        return False

    return gone


# --- logins ---


def basic(login: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{login}:secret".encode()).decode()}


def test_two_requests_of_one_login_at_a_time_and_no_thread_for_those_that_wait(echo):
    """However the login is spelled; another password is another login: nobody is kept out so."""
    spelled = [basic("anna"), {"Authorization": "basic  YW5uYTpzZWNyZXQ="}, basic("%61nna")]
    with listening(echo, threads=4) as port:
        dear = [Line(port).ask("/wait", **spelled[n % 3]) for n in range(6)]
        assert until(lambda: len(echo.seen) == 2)
        assert Line(port).ask("/hello", **basic("bob")).answer()[0] == 200
        assert Line(port).ask("/hello").answer()[0] == 200
        assert echo.seen.count("/wait") == 2
        echo.go_on.set()
        assert [line.answer()[0] for line in dear] == [200] * 6


def test_whoever_waits_too_long_for_its_own_is_told_to_come_back(echo, monkeypatch):
    monkeypatch.setattr(channels, "LOGIN_WAIT_S", 0.5)
    with listening(echo, threads=4) as port:
        dear = [Line(port).ask("/wait", **basic("anna")) for _ in range(2)]
        assert until(lambda: len(echo.seen) == 2)
        assert Line(port).ask("/hello", **basic("anna")).answer()[0] == 503
        echo.go_on.set()
        assert [line.answer()[0] for line in dear] == [200] * 2


def test_the_application_says_when_to_come_back(local_world):
    def too_many(environ, start_response):
        environ["gateway.too_many"] = True
        return local_world.application(environ, start_response)

    local_world.device.application = too_many
    answer = local_world.device.propfind(local_world.home, "d:displayname")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0


# --- nobody listens ---


def test_a_request_learns_that_its_client_hung_up():
    heard, begun = threading.Event(), threading.Event()

    def application(environ, start_response):
        begun.set()
        if until(environ[IS_GONE], 10):
            heard.set()
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

    with listening(application) as port:
        line = Line(port).ask("/")
        assert begun.wait(20)
        line.close()
        assert heard.wait(20)


def test_what_waits_and_whose_client_hung_up_is_never_begun(echo):
    with listening(echo, threads=4) as port:
        dear = [Line(port).ask("/wait", **basic("anna")) for _ in range(2)]
        assert until(lambda: len(echo.seen) == 2)
        gone = Line(port).ask("/nobody", **basic("anna"))
        gone.socket.shutdown(socket.SHUT_WR)  # looks like hanging up, and shows when it was noticed
        assert gone.closes_within(20)
        echo.go_on.set()
        assert [line.answer()[0] for line in dear] == [200] * 2
        assert Line(port).ask("/last", **basic("anna")).answer()[0] == 200
        assert echo.seen == ["/wait", "/wait", "/last"]


def test_the_main_thread_rests_while_answers_are_made_and_sent(monkeypatch):
    """It looks at its connections when a request begins and when it ends, and not in between."""
    turns = 0

    def readable(self) -> bool:
        nonlocal turns
        turns += 1
        return channels.Server.readable(self)

    def application(environ, start_response):
        start_response("207 Multi-Status", [("Content-Length", "200000")])
        return [b"x" * 200_000]

    monkeypatch.setattr(Stoppable, "readable", readable, raising=False)
    with listening(application) as port:
        line = Line(port)
        assert line.ask("/").answer()[0] == 207
        before = turns
        for _ in range(100):
            assert line.ask("/").answer()[0] == 207
        assert turns - before < 600


@pytest.mark.parametrize(
    ("method", "depth", "body"),
    [
        ("PROPFIND", "1", "<d:propfind xmlns:d='DAV:'><d:allprop/></d:propfind>"),
        (
            "REPORT",
            "1",
            "<c:calendar-query xmlns:c='urn:ietf:params:xml:ns:caldav' xmlns:d='DAV:'><d:prop>"
            "<d:getetag/></d:prop></c:calendar-query>",
        ),
        (
            "REPORT",
            "1",
            "<d:sync-collection xmlns:d='DAV:'><d:sync-token/><d:sync-level>1</d:sync-level>"
            "<d:prop><d:getetag/></d:prop></d:sync-collection>",
        ),
        ("GET", "0", ""),
    ],
)
def test_work_for_nobody_ends(local_world, method, depth, body):
    """The client hangs up when a part is done: the rest is not."""
    world, asked = local_world, 0
    for n in range(200):
        world.mirror_put(f"{n}.ics", event(f"m{n}", at(9), at(10)))

    def hung_up() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    def application(environ, start_response):
        environ[IS_GONE] = hung_up
        return world.application(environ, start_response)

    world.device.application = application
    answer = world.device.request(method, world.mirror_path, body, Depth=depth)
    assert answer.status == 503
    assert asked == 3


# --- heads that two servers read differently ---

HIDDEN = b"DELETE /hidden HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        b"PUT / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PUT / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
    ],
)
def test_a_body_of_two_lengths_is_refused_and_what_hides_in_it_never_runs(echo, head):
    """RFC 9112 6.1 and 6.3: 400, and the connection ends."""
    with listening(echo) as port:
        line = Line(port).send(head + b"0\r\n\r\n" + HIDDEN)
        assert line.rest().startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
        assert answers(Line(port))
        assert echo.seen == ["/hello"]


@pytest.mark.parametrize(
    "hosts", [[], ["a", "b"], ["a", "a"], ["a b"], ["a/b"], ["a:x"], ["<a>"], ["%zz"]]
)
def test_one_host_is_needed(echo, hosts):
    """RFC 9112 3.2."""
    head = "".join(f"Host: {host}\r\n" for host in hosts)
    with listening(echo) as port:
        line = Line(port).send(f"GET / HTTP/1.1\r\n{head}\r\n".encode())
        assert line.rest().startswith(b"HTTP/1.1 400")
        assert echo.seen == []


@pytest.mark.parametrize("host", ["a", "a.example:8443", "[::1]:80", "127.0.0.1", "", "xn--4ca"])
def test_hosts_that_are_hosts(echo, host):
    with listening(echo) as port:
        assert (
            Line(port).send(f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).answer()[0] == 200
        )


def test_a_propfind_that_is_too_long_is_refused_by_its_head(echo):
    with listening(echo) as port:
        head = "PROPFIND /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n"
        allowed = Line(port).send(head.format(3).encode() + b"abc")
        assert allowed.answer()[0] == 200
        refused = Line(port).send(head.format(channels.MAX_PROPFIND).encode())
        assert refused.answer()[0] == 413  # before a byte of the body was sent
        assert refused.closes_within(5)
        other = Line(port).send(head.format(200_000).replace("PROPFIND", "PUT").encode())
        other.send(b"x" * 200_000)
        assert other.answer()[0] == 200
    assert echo.seen == ["/a", "/a"]
