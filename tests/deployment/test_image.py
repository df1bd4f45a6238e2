"""The image's own install and start commands, run in an empty folder: no engine is needed.

The instructions of the Dockerfile are read from the file, so what is tested is what is built.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Return (word, arguments) of each instruction, continuation lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    joined = text.replace("\\\n", " ")
    return [
        (word, rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def build_stage() -> list[tuple[str, str]]:
    """Return the instructions of the first stage, its FROM left out."""
    stage = instructions()[1:]
    return stage[: [word for word, _ in stage].index("FROM")]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do what the build stage says, with ``/opt`` and the work folder in an empty place."""
    place = tmp_path_factory.mktemp("image")
    source, target = place / "src", place / "opt"
    source.mkdir()
    environment = dict(os.environ)
    for word, rest in build_stage():
        if word == "ENV":
            environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif word == "COPY":
            *names, into = shlex.split(rest)
            for name in names:
                _copy(ROOT / name, source / into if into != "./" else source / name)
        elif word == "RUN":
            command = rest.replace("/opt/", f"{target}/").replace(
                "python -m venv", f"{sys.executable} -m venv"
            )
            subprocess.run(command, shell=True, cwd=source, env=environment, check=True)
    shutil.rmtree(source)
    return target / "gateway"


def _copy(what: Path, to: Path) -> None:
    if what.is_dir():
        shutil.copytree(what, to, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(what, to)


def test_the_image_is_not_root_and_has_a_health_check() -> None:
    words = dict(instructions())
    assert words["USER"] == "gateway"
    assert words["HEALTHCHECK"].endswith('["gateway", "doctor", "--alive", "serve"]')
    assert json.loads(words["CMD"]) == ["gateway", "serve"]


def test_the_installed_image_initialises_starts_and_is_healthy(
    installed: Path, tmp_path: Path
) -> None:
    """What a container does: init, the CMD, the health check, and a stop by SIGTERM."""
    environment = {
        "PATH": f"{installed / 'bin'}:{os.environ['PATH']}",
        "GATEWAY_DATA_DIR": str(tmp_path / "data"),
        "GATEWAY_API_BIND": "127.0.0.1:0",
        "GATEWAY_CALDAV_BIND": "127.0.0.1:0",
        "GATEWAY_LOG_FORMAT": "json",
    }
    command = json.loads(dict(instructions())["CMD"])
    subprocess.run(["gateway", "init"], env=environment, cwd=tmp_path, check=True)
    with subprocess.Popen(
        [*command, "--json"], env=environment, cwd=tmp_path, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        ready = json.loads(server.stdout.readline())
        ports = {part: url.rstrip("/").rsplit("/", 1)[1] for part, url in ready.items()}
        healthy = subprocess.run(
            ["gateway", "doctor", "--alive", "serve", "--json"],
            env=environment
            | {"GATEWAY_API_BIND": ports["api"], "GATEWAY_CALDAV_BIND": ports["caldav"]},
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
    assert json.loads(healthy.stdout) == {"ok": True, "findings": []}
