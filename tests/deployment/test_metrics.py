"""Metrics are told on a bind of their own, by every process, and published by nothing we ship."""

import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.cli.commands.setup import initialise
from gateway.cli.processes import Child
from gateway.observe import MORE_PORTS, serving_metrics
from gateway.settings import load_settings

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def test_processes_of_one_machine_do_not_fight_for_the_port() -> None:
    bind = f"127.0.0.1:{free_port()}"
    with serving_metrics(bind) as first, serving_metrics(bind) as second:
        assert first is not None
        assert second is not None
        assert first != second
        assert first == f"http://{bind}/metrics"
        for url in (first, second):
            assert "gateway_http_request_seconds" in read(url)
    with serving_metrics(bind) as again:
        assert again == first
    with pytest.raises(OSError):
        read(second)


def test_a_port_that_is_any_and_none_at_all() -> None:
    with serving_metrics("127.0.0.1:0") as url:
        assert url is not None
        assert "python_info" in read(url)
    with serving_metrics("") as url:
        assert url is None


def test_metrics_keep_no_part_from_starting() -> None:
    with capture_logs() as told:
        with serving_metrics("192.0.2.1:9464") as url:  # not an address of this machine
            assert url is None
        first = free_port()
        taken = []
        for port in range(first, first + MORE_PORTS + 1):
            try:
                taken.append(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue  # somebody else's is as good
        with serving_metrics(f"127.0.0.1:{first}") as url:
            assert url is None
        for one in taken:
            one.close()
    assert [one["event"] for one in told if one["log_level"] == "warning"] == ["no metrics"] * 2


async def test_every_part_tells_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """API, worker and CalDAV server on one machine, told the same port."""
    initialise(load_settings(data_dir=tmp_path))
    port = free_port()
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("GATEWAY_METRICS_BIND", f"127.0.0.1:{port}")
    monkeypatch.setenv("GATEWAY_API_BIND", "127.0.0.1:0")
    monkeypatch.setenv("GATEWAY_CALDAV_BIND", "127.0.0.1:0")
    children = []
    try:
        for part in ("api", "worker", "caldav"):
            children.append(await Child.start(part))
            assert "gateway_connections" in read(f"http://127.0.0.1:{port + len(children) - 1}/")
        for part in (children[0].ready["api"], children[2].ready["caldav"]):
            with pytest.raises(urllib.error.HTTPError):
                read(f"{part}metrics")
    finally:
        for child in children:
            await child.stop()


@pytest.mark.parametrize("name", ["conf/nginx.conf", "docker/Caddyfile"])
def test_the_shipped_proxies_publish_no_metrics(name: str) -> None:
    assert "9464" not in (ROOT / name).read_text(encoding="utf-8")
    compose = (ROOT / "docker/compose.yml").read_text(encoding="utf-8")
    assert '"9464' not in compose
