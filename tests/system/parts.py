"""What the system tests need beside pip, how its presence is told, and Debian's packages for it.

``python -m tests.system.parts`` prints what is here and what is absent, with ``--packages`` only
the package names of what is absent (for ``install.sh``).
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SYSTEM_PYTHON = "/usr/bin/python3"
"""Debian's bindings for desktop libraries belong to Debian's own Python."""

_ECAL = (
    "import gi; gi.require_version('ECal', '2.0'); gi.require_version('EDataServer', '1.2');"
    "from gi.repository import ECal, EDataServer, ICalGLib"
)


TSDAV = Path(sys.prefix) / "tsdav"
"""Where ``install.sh`` has npm put that package, as its lock in ``tests/system/tsdav`` says."""


@dataclass(frozen=True)
class Part:
    """One thing a test may need; ``is_here`` must not start anything that stays."""

    is_here: Callable[[], bool]
    packages: tuple[str, ...]
    otherwise: str = ""  # how it is had when it is not a Debian package


def find_program(name: str) -> str | None:
    """Return the path of a program, also of one that Debian keeps off a plain user's ``PATH``."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    beside = [str(Path(folder).with_name("sbin")) for folder in folders if folder]
    return shutil.which(name, path=os.pathsep.join(folders + beside))


def _command(*names: str) -> Callable[[], bool]:
    return lambda: all(find_program(name) for name in names)


def _evolution_is_here() -> bool:
    if not shutil.which("dbus-run-session") or not _evolution_factory():
        return False
    tried = subprocess.run([SYSTEM_PYTHON, "-c", _ECAL], capture_output=True, check=False)
    return tried.returncode == 0


def _evolution_factory() -> bool:
    folders = (Path("/usr/libexec"), Path("/usr/lib/evolution-data-server"))
    return any((folder / "evolution-calendar-factory").exists() for folder in folders)


def _tsdav_is_here() -> bool:
    """Tell whether the wanted version is there: npm writes the inner lock when all is done."""
    lock = Path(__file__).parent / "tsdav" / "package-lock.json"
    mine = TSDAV / lock.name
    return (
        bool(shutil.which("node"))
        and (TSDAV / "node_modules" / ".package-lock.json").exists()
        and mine.read_bytes() == lock.read_bytes()
    )


PARTS: dict[str, Part] = {
    "chromium": Part(_command("chromium"), ("chromium", "fonts-dejavu-core")),
    "nginx": Part(_command("nginx"), ("nginx",)),
    "openssl": Part(_command("openssl"), ("openssl",)),
    "node": Part(_command("node", "npm"), ("nodejs", "npm")),
    "tsdav": Part(_tsdav_is_here, (), "fetched by npm"),
    "vdirsyncer": Part(_command("vdirsyncer"), ("vdirsyncer",)),
    "evolution": Part(
        _evolution_is_here, ("evolution-data-server", "gir1.2-ecal-2.0", "python3-gi", "dbus")
    ),
}


@cache
def is_here(name: str) -> bool:
    """Tell whether the part is installed; asked once per process."""
    return PARTS[name].is_here()


def find_absent(names: tuple[str, ...]) -> list[str]:
    """Return those of ``names`` that are not installed; an unknown name raises ``KeyError``."""
    return [name for name in names if not is_here(name)]


def main(arguments: list[str]) -> None:
    """Print the list for people, or the absent packages for the script."""
    absent = find_absent(tuple(PARTS))
    if arguments == ["--packages"]:
        print(*(package for name in absent for package in PARTS[name].packages))
        return
    for name, part in PARTS.items():
        lacking = f"absent; {part.otherwise or 'Debian: ' + ' '.join(part.packages)}"
        print(f"{name:<12} {lacking if name in absent else 'here'}")


if __name__ == "__main__":
    main(sys.argv[1:])
