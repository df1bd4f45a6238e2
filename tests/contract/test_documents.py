"""The documents name files, commands, settings and targets that exist."""

import re
from pathlib import Path

import pytest

from gateway.cli.doctor.command import CLIENT_PASSWORD
from gateway.cli.main import COMMANDS
from gateway.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:gateway|storage_plugin|tests|conf|docker)/[\w/.-]+)`", text))
    links = set(re.findall(r"\]\((?!https?:|#)([^)#]+)", text))
    missing = {name for name in named if not (ROOT / name).exists()}
    missing |= {link for link in links if not (page.parent / link).exists()}
    assert missing == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    used = set(re.findall(r"(?:^\$ |`)gateway ([a-z]+)", text, re.MULTILINE))
    assert used <= set(COMMANDS)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^\$ |`)make ([a-z-]+)", text, re.MULTILINE)) <= targets


def test_every_setting_in_the_environment_exists() -> None:
    known = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields} | {
        "GATEWAY_CONFIG",
        "GATEWAY_CLIENT_PASSWORD",
        "GATEWAY_KEYRING",
        CLIENT_PASSWORD,
    }
    for test in (ROOT / "tests").rglob("*.py"):
        known |= set(re.findall(r"GATEWAY_TEST_[A-Z_]+[A-Z]", test.read_text(encoding="utf-8")))
    for page in PAGES:
        assert set(re.findall(r"GATEWAY_[A-Z_]+[A-Z]", page.read_text(encoding="utf-8"))) <= known


def test_the_commands_of_the_design_exist() -> None:
    wanted = {
        *("demo", "serve", "caldav", "api", "worker", "lookalike", "init", "migrate", "connect"),
        *("calendars", "roles", "sync", "freebusy", "logins", "doctor", "busy"),
    }
    assert wanted <= set(COMMANDS)
