"""Every file of ``conf/`` is loaded by what will load it, or by its own format's parser."""

import configparser
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from gateway.cli.main import COMMANDS
from gateway.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
DOCKER = ROOT / "docker"


def test_every_file_is_known_to_a_test() -> None:
    files = {str(path.relative_to(CONF)) for path in CONF.rglob("*") if path.is_file()}
    assert files == {
        "gateway.toml",
        "nginx.conf",
        "systemd/gateway.service",
        "systemd/gateway-caldav.service",
        "systemd/gateway-sidecar@.service",
    }


def test_the_example_settings_load_and_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"GATEWAY_{name.upper()}", raising=False)
    loaded = load_settings(CONF / "gateway.toml").model_dump()
    defaults = Settings().model_dump()
    different = {name for name in defaults if loaded[name] != defaults[name]}
    assert different == {"data_dir"}


def test_every_setting_is_explained_in_the_example() -> None:
    text = (CONF / "gateway.toml").read_text(encoding="utf-8")
    named = set(re.findall(r"^#? ?(\w+) = ", text, re.MULTILINE))
    assert named == set(Settings.model_fields)
    assert tomllib.loads(text)


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("GATEWAY_TRUSTED_PROXIES", "10.0.0.1, 10.0.0.2")
    settings = load_settings(CONF / "gateway.toml", lease_s=5)
    assert (settings.log_level, settings.lease_s) == ("DEBUG", 5)
    assert settings.trusted_proxies == ("10.0.0.1", "10.0.0.2")


@pytest.mark.parametrize(
    "line", ["no_such_setting = 1", "upstream_url = 'http://example.org/'", "api_bind = '8080'"]
)
def test_a_wrong_setting_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(line)
    with pytest.raises(ValueError, match=line.split(" ")[0]):
        load_settings(path)


@pytest.mark.parametrize("unit", sorted((CONF / "systemd").iterdir()), ids=lambda path: path.name)
def test_systemd_units_start_commands_that_exist(unit: Path) -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    started = parser["Service"]["ExecStart"].split()
    assert started[0].endswith("/gateway")
    names = ["api", "worker"] if started[1] == "%i" else [started[1]]
    assert set(names) <= set(COMMANDS)
    if started[1] != "caldav":  # whose role on PostgreSQL cannot
        assert parser["Service"]["ExecStartPre"].split() == [started[0], "migrate"]
    assert parser["Service"]["User"] != "root"


def test_nginx_passes_to_the_ports_of_the_example_settings() -> None:
    text = (CONF / "nginx.conf").read_text(encoding="utf-8")
    settings = load_settings(CONF / "gateway.toml")
    assert re.findall(r"upstream gateway_(\w+) \{ server ([\d.:]+);", text) == [
        ("caldav", settings.caldav_bind),
        ("api", settings.api_bind),
    ]
    assert text.count("{") == text.count("}")
    for header in ("X-Script-Name", "X-Remote-Addr"):
        assert f'proxy_set_header {header} "";' in text


def test_compose_runs_the_parts_and_keeps_the_key_from_caldav() -> None:
    composed = yaml.safe_load((DOCKER / "compose.yml").read_text(encoding="utf-8"))
    services = composed["services"]
    assert set(services) == {"migrate", "api", "worker", "caldav", "database", "proxy"}
    for part in ("api", "worker", "caldav"):
        assert services[part]["command"] == ["gateway", part]
        assert services[part]["healthcheck"]["test"][1:] == ["gateway", "doctor", "--alive", part]
        assert {"HOST_NAME", "GATEWAY_X"} & set(services[part]["environment"]) == set()
        assert services[part]["depends_on"]["migrate"] == {
            "condition": "service_completed_successfully"
        }
    migrate = services["migrate"]
    assert (migrate["command"], migrate["restart"]) == (["gateway", "migrate"], "no")
    assert set(migrate["depends_on"]) == {"database"}
    assert "volumes" not in migrate  # it needs no key
    caddy = (DOCKER / "Caddyfile").read_text(encoding="utf-8")
    assert "handle_path /api/*" in caddy
    public = services["api"]["environment"]["GATEWAY_API_PUBLIC_URL"]
    assert public == services["api"]["environment"]["GATEWAY_PUBLIC_URL"] + "api/"
    caldav = services["caldav"]
    assert "volumes" not in caldav
    assert not [name for name in caldav["environment"] if "KEY" in name]
    assert caldav["environment"]["GATEWAY_DATABASE_URL"].startswith("postgresql://caldav:")
    known = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields}
    for part in ("migrate", "api", "worker", "caldav"):
        assert set(services[part]["environment"]) <= known
    for named in re.findall(r"docker/\S+", (DOCKER / "compose.yml").read_text()):
        assert (ROOT / named).exists() or "compose" in named, named
    example = (DOCKER / ".env.example").read_text(encoding="utf-8")
    wanted = set(re.findall(r"\$\{(\w+):\?\}", (DOCKER / "compose.yml").read_text()))
    assert wanted == set(re.findall(r"^(\w+)=", example, re.MULTILINE))


def test_the_proxy_of_compose_names_services_and_their_ports() -> None:
    text = (DOCKER / "Caddyfile").read_text(encoding="utf-8")
    assert re.findall(r"reverse_proxy (\S+)", text) == ["api:8080", "caldav:5232"]
    assert text.count("{") == text.count("}")
