"""waitress with bounds: who may connect, for how long, and what of it is answered at a time.

The main thread reads requests and sends answers, whatever the clients' pace; a request gets a
thread when it is whole. Connections are closed when they are slow (a head, a body, an answer that
is not taken) and when others need the room: the longest idle one first.
"""

import re
import socket
import time
from base64 import b64decode
from binascii import Error as NotBase64
from collections import Counter, deque
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote_to_bytes

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher, WSGITask

from gateway.core.addresses import network_of
from storage_plugin.http.middleware import IS_GONE, TOO_MANY, Application

AT_ONCE = 2
"""Requests of one login that are answered at a time; others of that login wait."""
LOGIN_WAIT_S = 10.0
HEAD_S = 15.0
BODY_S = 120.0
STALLED_S = 30.0
"""Without a byte of a body that was begun, or without a byte taken of an answer."""
IDLE_S = 120.0
LOOK_EVERY_S = 1
GONE_LOOK_S = 0.1
MAX_PROPFIND = 128 * 1024
"""Bytes of a PROPFIND; it names properties, and more elements than fit in are refused anyway."""
PER_ADDRESS = 100
"""Connections of one address (IPv6: one /64), unless it is a trusted proxy."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|(?:[\w.~!$&'()*+;=-]|%[0-9A-Fa-f]{2})*)(:\d*)?", re.ASCII)
"""uri-host [ ":" port ]; two Host headers arrive joined with a comma (RFC 9112 3.2)."""


class Parser(HTTPRequestParser):
    """Refuses heads that two servers could read in two ways."""

    def parse_header(self, header_plus: bytes) -> None:
        """Parse as waitress does; raises ``ParsingError``: 400, and the connection is closed.

        A length beside Transfer-Encoding is how one request is hidden in another (RFC 9112 6.1);
        Transfer-Encoding in HTTP/1.0 is faulty framing.
        """
        super().parse_header(header_plus)  # type: ignore[no-untyped-call]
        has_length = "CONTENT_LENGTH" in self.headers
        if (self.chunked and has_length) or "TRANSFER_ENCODING" in self.headers:
            raise ParsingError("Content-Length and Transfer-Encoding exclude each other")
        host = self.headers.get("HOST")
        if (host is None and self.version == "1.1") or not _HOST.fullmatch(host or ""):
            raise ParsingError("One Host header is needed")
        if self.command == "PROPFIND":  # refused by its head: reading it all is what costs
            self.adj = _short_bodies(self.adj)


@cache
def _short_bodies(adjustments: Adjustments) -> Adjustments:
    short = copy(adjustments)
    short.max_request_body_size = min(MAX_PROPFIND, adjustments.max_request_body_size)
    return short


class Task(WSGITask):
    """waitress closes the connection after each 204 and 304, which have no length to tell."""

    def set_close_on_finish(self) -> None:
        """Close when the client asked for it, or when the end of a body shows in no other way."""
        asked = self.request.headers.get("CONNECTION", "").lower()
        if self.has_body or self.version != "1.1" or asked == "close":
            super().set_close_on_finish()

    def get_environment(self) -> dict[str, Any]:
        """Return the WSGI environment; says when the request has waited too long."""
        environ: dict[str, Any] = super().get_environment()  # type: ignore[no-untyped-call]
        if getattr(self.request, "waited_too_long", False):
            environ[TOO_MANY] = True
        environ[IS_GONE] = self.channel.is_gone
        return environ


class Channel(HTTPChannel):
    """One connection, and since when it does what it does."""

    task_class = Task
    parser_class = Parser
    addr: tuple[str, int]
    began_at = 0.0
    """When the first byte of the request that is being read came; 0 between requests."""
    served_at = 0.0
    """When a request was last answered; 0 for a connection that never sent a whole one."""
    _looked_at = 0.0

    def received(self, data: bytes) -> bool:
        """Take bytes of the client."""
        before = self.request
        taken: bool = super().received(data)  # type: ignore[no-untyped-call]
        if self.request is None:
            self.began_at = 0.0
        elif self.request is not before:
            self.began_at = time.time()
        return taken

    @property
    def network(self) -> str:
        """What one customer has of the address."""
        return network_of(str(self.addr[0]))

    @property
    def is_working(self) -> bool:
        """Whether a request is being answered, or waits to be."""
        return bool(self.requests)

    def is_gone(self) -> bool:
        """Tell whether the client hung up while it is answered; looks ten times a second at most.

        waitress can look too, by reading ahead (``channel_request_lookahead``), but its main thread
        then runs in circles while an answer is sent: a short request cost twice as much.
        """
        now = time.monotonic()
        if self.connected and now - self._looked_at >= GONE_LOOK_S:
            self._looked_at = now
            try:
                assert self.socket is not None
                if not self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    self.connected = False
            except BlockingIOError:
                pass
            except OSError:
                self.connected = False
        return not self.connected

    def service(self) -> None:
        """Answer a request."""
        super().service()  # type: ignore[no-untyped-call]
        self.served_at = time.time()

    def room_rank(self) -> tuple[bool, float]:
        """Who goes first when room is needed: who never sent a whole request, then the idlest.

        Bytes alone earn no place: a head that never ends would push out those who are served.
        """
        return self.served_at > 0, self.served_at or self.creation_time

    def is_overdue(self, now: float) -> bool:
        """Tell whether the client has had long enough for what it does."""
        if self.is_working:
            return False
        still = now - self.last_activity
        if self.total_outbufs_len:
            return still > STALLED_S
        if self.request is None:
            return still > IDLE_S
        if not self.request.headers_finished:
            return now - self.began_at > HEAD_S
        return still > STALLED_S or now - self.began_at > BODY_S


class Server(TcpWSGIServer):
    """Listens on a socket that other processes may share; ``most`` connections in all."""

    channel_class = Channel

    def __init__(
        self,
        application: Application,
        listener: socket.socket,
        *,
        threads: int,
        max_body: int,
        most: int,
        trusted: Iterable[str],
    ) -> None:
        adjustments: Any = Adjustments(  # type: ignore[no-untyped-call]
            sockets=[listener],
            connection_limit=2**31,  # the caps are ours: at waitress's own nobody gets in any more
            cleanup_interval=LOOK_EVERY_S,
            asyncore_use_poll=True,  # select() ends at 1024 descriptors
            outbuf_high_watermark=2**31,  # a thread never waits for a slow reader
            max_request_body_size=max_body,
            recv_bytes=2**16,  # a large body is few turns of the main thread
            clear_untrusted_proxy_headers=False,  # the middleware decides whom to believe
            log_socket_errors=False,  # a client that hangs up is nothing to act on
            ident="",
        )
        self._most = most
        self._trusted = frozenset(trusted)
        dispatcher: Any = Dispatcher()
        dispatcher.set_thread_count(threads)
        super().__init__(  # type: ignore[no-untyped-call]
            application,
            _sock=listener,
            dispatcher=dispatcher,
            adj=adjustments,
            bind_socket=False,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
        )

    def handle_accept(self) -> None:
        """Accept a connection, and close others where there are too many."""
        super().handle_accept()  # type: ignore[no-untyped-call]
        channels: list[Channel] = list(self.active_channels.values())
        if not channels:
            return
        newest = channels[-1]
        same = [channel for channel in channels if channel.network == newest.network]
        if len(same) > PER_ADDRESS and newest.addr[0] not in self._trusted:
            _make_room(same)
        elif len(channels) > self._most:
            _make_room(channels)

    def maintenance(self, now: float) -> None:
        """Close the connections of clients that are too slow or hung up; once a second."""
        channels: list[Channel] = list(self.active_channels.values())
        for channel in channels:
            if channel.is_overdue(now) or (channel.is_working and channel.is_gone()):
                channel.handle_close()  # type: ignore[no-untyped-call]


def _make_room(channels: list[Channel]) -> None:
    """Close the one that has been idle the longest; the newest when all are at work."""
    waiting = [channel for channel in channels if not channel.is_working]
    # The newest has sent nothing yet and would count as idle, but it is what room is made for.
    others = [channel for channel in waiting if channel is not channels[-1]]
    closed = min(others, key=Channel.room_rank) if others else channels[-1]
    closed.handle_close()  # type: ignore[no-untyped-call]


@dataclass(slots=True)
class _Waiting:
    """A connection with a whole request; ``login`` is None when nobody claims to be anybody."""

    channel: Channel
    login: bytes | None
    since: float

    def cancel(self) -> None:
        self.channel.cancel()  # type: ignore[no-untyped-call]


class Dispatcher(ThreadedTaskDispatcher):
    """Gives threads to requests in the order they came, to one login :data:`AT_ONCE` at most.

    Those of one login that wait hold no thread, so nobody else waits for them.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._running: Counter[bytes] = Counter()

    def add_task(self, task: Channel) -> None:
        """Queue a request."""
        headers = task.requests[0].headers
        waiting = _Waiting(task, _login_of(headers.get("AUTHORIZATION")), time.monotonic())
        with self.lock:
            self.queue.append(waiting)
            self.queue_cv.notify()

    def handler_thread(self, thread_no: int) -> None:
        """Answer requests until told to stop."""
        while True:
            with self.lock:
                while (waiting := self._next()) is None and not self.stop_count:
                    self.active_count -= 1
                    self.queue_cv.wait(LOOK_EVERY_S if self.queue else None)
                    self.active_count += 1
                if waiting is None:
                    self.active_count -= 1
                    self.stop_count -= 1
                    self.threads.discard(thread_no)
                    self.thread_exit_cv.notify()
                    return
            try:
                waiting.channel.service()
            except BaseException:
                self.logger.exception("Exception in a thread that answers")
            finally:
                self._done(waiting.login)

    def _next(self) -> _Waiting | None:
        """Take the first request whose login has room, or which has waited too long."""
        if self.stop_count:
            return None
        queue: deque[_Waiting] = self.queue
        late = time.monotonic() - LOGIN_WAIT_S
        for at, waiting in enumerate(queue):
            has_room = waiting.login is None or self._running[waiting.login] < AT_ONCE
            if has_room or waiting.since < late:
                del queue[at]
                waiting.channel.requests[0].waited_too_long = not has_room
                if waiting.login is not None:
                    self._running[waiting.login] += 1
                return waiting
        return None

    def _done(self, login: bytes | None) -> None:
        if login is None:
            return
        with self.lock:
            self._running[login] -= 1
            if not self._running[login]:
                del self._running[login]


def _login_of(header: str | None) -> bytes | None:
    """Return what makes a login one, however it is spelled: name and password together.

    So nobody who does not know the password takes the place of whom it belongs to.
    """
    scheme, _, credentials = (header or "").partition(" ")
    if scheme.casefold() != "basic":
        return None
    try:
        name, _, password = b64decode(credentials.encode("latin-1")).partition(b":")
    except (NotBase64, ValueError):
        return None
    return unquote_to_bytes(name) + b":" + password
