"""Logs and metrics: structured lines that carry ids, never credentials, titles or addresses."""

import errno
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    start_http_server,
)

_QUIET = (
    "alembic",
    "radicale",
    "waitress",
    "urllib3",
    "asyncio",
)


def set_up_logging(*, level: str = "INFO", style: str = "console") -> None:
    """Send structured lines to standard error; ``style`` is ``console`` or ``json``.

    Libraries that log request paths and user names are kept at warnings: a calendar home's path
    upstream holds the account number.
    """
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    logging.basicConfig(stream=sys.stderr, level=number, format="%(message)s", force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    renderer: Any = structlog.processors.JSONRenderer() if style == "json" else _console()
    _configure(renderer, number)


def _console() -> Any:
    """Return a renderer for people; its tracebacks never show local variables (passwords)."""
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _configure(renderer: Any, level: int) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


_configure(_console(), logging.INFO)  # structlog's own default prints local variables


def logger(name: str) -> Any:
    """Return a structured logger bound to the part's name."""
    return structlog.get_logger(part=name)


class Metrics:
    """The Prometheus metrics of one process, in one registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        self.upstream_requests = Counter(
            "gateway_upstream_requests",
            "Requests sent to iCloud by verb and status.",
            ("method", "status"),
            registry=registry,
        )
        self.sync_runs = Counter(
            "gateway_sync_runs", "Sync runs by outcome.", ("outcome",), registry=registry
        )
        self.sync_objects = Counter(
            "gateway_sync_objects",
            "Objects taken, deleted, repaired or not understood by sync.",
            ("what",),
            registry=registry,
        )
        self.sync_requests = Histogram(
            "gateway_sync_requests",
            "Requests one run over one account took; an idle poll takes one.",
            buckets=(1, 2, 3, 5, 10, 20, 50, 100, 250, 1000),
            registry=registry,
        )
        self.sync_age = Histogram(
            "gateway_sync_age_seconds",
            "Age of an account's data when it is polled.",
            buckets=(15, 30, 60, 120, 300, 600, 900, 3600, 86400),
            registry=registry,
        )
        self.failures = Counter(
            "gateway_failures",
            "Items of a loop (accounts, people, pushes) that failed unforeseen, by loop and code.",
            ("loop", "code"),
            registry=registry,
        )
        self.failing = Gauge(
            "gateway_failing",
            "Items of a loop that failed and wait for their next try.",
            ("loop",),
            registry=registry,
        )
        self.pushes = Counter(
            "gateway_pushes", "Pushes to iCloud by outcome.", ("outcome",), registry=registry
        )
        self.http_requests = Histogram(
            "gateway_http_request_seconds",
            "Requests answered by the API, by route and status.",
            ("route", "status"),
            registry=registry,
        )
        self.timeline_bytes = Gauge(
            "gateway_timeline_bytes",
            "Memory the timelines of the fast path take, roughly.",
            registry=registry,
        )
        self.connections = Gauge(
            "gateway_connections", "Connections by state.", ("state",), registry=registry
        )


_metrics: list[Metrics] = []


def metrics() -> Metrics:
    """Return the metrics of this process, made on first use."""
    if not _metrics:
        _metrics.append(Metrics())
    return _metrics[0]


MORE_PORTS = 20
"""So many ports after the one that is set are tried: each process of a machine takes its own."""


@contextmanager
def serving_metrics(bind: str) -> Iterator[str | None]:
    """Serve the metrics of this process at ``host:port`` in a thread; yields the URL.

    A port that is taken is another process of ours: the next free one is tried. None when there is
    none, or when ``bind`` is empty: metrics never keep a part from starting.
    """
    started = _start_metrics(bind) if bind else None
    if started is None:
        yield None
        return
    server, thread = started
    try:
        host, port = server.server_address[:2]
        url = f"http://[{host}]:{port}/metrics" if ":" in host else f"http://{host}:{port}/metrics"
        logger("metrics").info("metrics", url=url)
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _start_metrics(bind: str) -> tuple[Any, threading.Thread] | None:
    host, _, text = bind.rpartition(":")
    first = int(text)
    for port in range(first, first + MORE_PORTS + 1) if first else (0,):
        try:
            return start_http_server(port, host.strip("[]"), registry=metrics().registry)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                reason = error.strerror or type(error).__name__
                logger("metrics").warning("no metrics", bind=bind, reason=reason)
                return None
    logger("metrics").warning("no metrics", bind=bind, reason=f"{MORE_PORTS + 1} ports are taken")
    return None


class Neighbours:
    """Warns once of each neighbour that names clients and is not in ``trusted_proxies``.

    A proxy that is not listed makes everybody behind it one client: one of them locks all out.
    """

    MOST = 20

    def __init__(self, part: str, trusted: frozenset[str]) -> None:
        self._log = logger(part)
        self._trusted = trusted
        self._warned: set[str] = set()

    def note(self, peer: str) -> None:
        """Take note of X-Forwarded-For from a peer."""
        if peer in self._trusted or peer in self._warned or len(self._warned) >= self.MOST:
            return
        self._warned.add(peer)
        self._log.warning(
            "X-Forwarded-For is ignored: its sender is not in trusted_proxies", neighbour=peer
        )
