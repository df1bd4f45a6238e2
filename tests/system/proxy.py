"""A real nginx with the example configuration in front of a running installation."""

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.conftest import Installation
from tests.system.parts import find_program

EXAMPLE = Path(__file__).parents[2] / "conf" / "nginx.conf"
HOST = "localhost"

# What Debian's /etc/nginx/nginx.conf is around a site, made to run as anybody in one folder.
FRAME = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""

BELOW_DAV: Mapping[str, str] = {
    'X-Script-Name "";': 'X-Script-Name "/dav";',
    "return 301 https://$http_host/;": "return 301 https://$http_host/dav/;",
    "location / {": "location /dav/ {",
    "proxy_pass http://gateway_caldav;": "proxy_pass http://gateway_caldav/;",
}
"""The four changes that the example's comment names for CalDAV below a prefix."""


@dataclass(frozen=True)
class Proxy:
    """A running nginx; ``url`` and ``plain_url`` end with a slash."""

    url: str
    plain_url: str
    certificate: Path

    @property
    def trust(self) -> ssl.SSLContext:
        """A context that trusts this proxy's certificate alone."""
        return ssl.create_default_context(cafile=str(self.certificate))


@contextmanager
def run_nginx(
    folder: Path, installation: Installation, changes: Mapping[str, str] | None = None
) -> Iterator[Proxy]:
    """Run nginx with the example and ``changes`` to it; each change must apply exactly once."""
    plain, secure = _free_port(), _free_port()
    make_certificate(folder)
    replaced = {
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl": f"listen 127.0.0.1:{secure} ssl",
        "server 127.0.0.1:5232;": f"server {urlsplit(installation.caldav).netloc};",
        "server 127.0.0.1:8080;": f"server {urlsplit(installation.api).netloc};",
        "/etc/ssl/gateway/fullchain.pem": str(folder / "certificate.pem"),
        "/etc/ssl/gateway/privkey.pem": str(folder / "key.pem"),
    }
    site = EXAMPLE.read_text(encoding="utf-8")
    for old, new in (replaced | dict(changes or {})).items():
        assert site.count(old) == 1, old
        site = site.replace(old, new)
    site = site.replace("server_name calendar.example.org;", f"server_name {HOST};")
    (folder / "site.conf").write_text(site, encoding="utf-8")
    # A master that is root would have workers that cannot write into a test's folder.
    user = "user root;" if os.geteuid() == 0 else ""
    frame = FRAME.format(folder=folder, user=user)
    (folder / "nginx.conf").write_text(frame, encoding="utf-8")
    command = [str(find_program("nginx")), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with subprocess.Popen([*command, "-e", "stderr"]) as process:
        try:
            _wait_for(secure, process)
            yield Proxy(
                f"https://{HOST}:{secure}/",
                f"http://{HOST}:{plain}/",
                folder / "certificate.pem",
            )
        finally:
            process.terminate()


def make_certificate(folder: Path) -> None:
    """Make ``certificate.pem`` and ``key.pem`` for the host name, valid for two days."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST},IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while True:
        assert process.poll() is None, "nginx ended at once; its message is above"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "nginx did not listen within 10 s"
            time.sleep(0.05)
        else:
            return
