"""A foreign judge: caldav-server-tester, and the page that publishes what it found."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.storage_plugin.conftest import World

PAGE = Path(__file__).parents[2] / "docs" / "caldav.md"
_FOUND = re.compile(r"^## (\S+)\nFeature support level found: (\S+)$", re.MULTILINE)
_ROW = re.compile(r"^\| `([a-z0-9.-]+)` \| (\S+) \| .{10,} \|$", re.MULTILINE)


def test_the_page_tells_what_the_tester_finds(served_world: World, tmp_path: Path) -> None:
    world, server = served_world, served_world.application
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("caldav-server-tester")),
            *("--caldav-url", f"http://{server.host}:{server.port}/"),
            *("--caldav-user", world.device.login, "--caldav-pass", world.device.secret),
            *("--format", "text", "--verbose"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    found = dict(_FOUND.findall(done.stdout))
    page = PAGE.read_text(encoding="utf-8")
    told = page.partition("### What caldav-server-tester says")[2].partition("\n## ")[0]
    less = {name: level for name, level in found.items() if level != "full"}
    assert less == dict(_ROW.findall(told)), done.stderr
    assert f"{len(found) - len(less)} of its {len(found)} features are *full*" in told
