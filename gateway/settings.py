"""Typed, frozen settings from one TOML file with the environment on top.

Precedence: environment ``GATEWAY_…``, then the TOML file (``GATEWAY_CONFIG`` or the path given),
then the defaults below. Every field is explained in ``conf/gateway.toml``, which a test loads.
"""

import os
import tomllib
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

DEFAULT_UPSTREAM_URL = "https://caldav.icloud.com/"


class Settings(BaseSettings):
    """All settings of one installation; durations are seconds, sizes are bytes."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_", frozen=True, extra="forbid", env_ignore_empty=True
    )

    data_dir: Path = Field(default=Path("data"), description="Folder of the database and the key.")
    database_url: str = Field(
        default="", description="SQLAlchemy URL; empty means SQLite in the data folder."
    )
    listen_database_url: str = Field(
        default="",
        description="The database past a pooler, for the connection that listens; empty: the same.",
    )
    keyring_file: Path | None = Field(
        default=None, description="Key file; empty means keyring.json in the data folder."
    )

    upstream_url: str = Field(default=DEFAULT_UPSTREAM_URL, description="Where discovery starts.")
    upstream_domains: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("icloud.com", "icloud.com.cn"),
        description="Credentials go only to https hosts equal to or under these.",
    )
    upstream_allow_loopback: bool = Field(
        default=False, description="Development only: allow http to 127.0.0.1 and ::1."
    )
    upstream_timeout_s: float = Field(default=30.0, gt=0, le=300)
    upstream_requests_per_minute: int = Field(default=60, gt=0)
    upstream_parallel: int = Field(default=2, gt=0, le=8)
    upstream_max_body: int = Field(default=64 * 1024 * 1024, gt=0)

    api_bind: str = Field(default="127.0.0.1:8080", description="host:port of the sidecar.")
    caldav_bind: str = Field(default="127.0.0.1:5232", description="host:port of the CalDAV face.")
    public_url: str = Field(
        default="", description="Address under which native clients reach the CalDAV face."
    )
    api_public_url: str = Field(
        default="", description="Address under which the API is reached, for links in problems."
    )
    caldav_processes: int = Field(
        default=0, ge=0, le=64, description="CalDAV processes; 0: one for each core."
    )
    caldav_threads: int = Field(default=8, gt=0, le=256)
    max_resource_size: int = Field(default=1024 * 1024, gt=1024, description="Largest PUT body.")
    local_calendars: bool = Field(
        default=True, description="Whether devices may make calendars of their own here."
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Addresses whose X-Forwarded-For and X-Script-Name are believed."
    )

    poll_active_s: float = Field(default=35.0, gt=0)
    poll_idle_s: float = Field(default=240.0, gt=0)
    sync_slots: int = Field(
        default=64, gt=0, le=1024, description="Accounts one worker asks at the same time."
    )
    fresh_for_s: int = Field(default=900, gt=0, description="A source is fresh this long (R25).")
    trust_for_s: int = Field(default=86_400, gt=0, description="Stale data is believed this long.")
    timeline_cache_bytes: int = Field(
        default=64 * 1024 * 1024, gt=0, description="Memory for free/busy answers, per process."
    )
    requests_per_minute: int = Field(
        default=600_000, ge=0, description="API requests of one key; 0: any number."
    )
    public_requests_per_minute: int = Field(
        default=6000, ge=0, description="Requests at one public free/busy address; 0: any number."
    )
    api_connections: int = Field(
        default=1000, gt=0, description="Connections open at once; over it the oldest idle goes."
    )
    api_connections_per_address: int = Field(
        default=200, gt=0, description="The same of one address; trusted proxies are exempt."
    )
    api_header_timeout_s: float = Field(
        default=10.0, gt=0, description="From its first byte the head of a request is read so long."
    )
    api_body_timeout_s: float = Field(default=30.0, gt=0, description="A body is read so long.")
    api_keepalive_s: float = Field(
        default=75.0, gt=0, description="A connection may wait so long for its next request."
    )
    api_answer_timeout_s: float = Field(
        default=60.0, gt=0, description="A client that reads nothing of an answer is left then."
    )
    metrics_bind: str = Field(
        default="127.0.0.1:9464",
        description="host:port of /metrics, the next free ones for further processes; empty: none.",
    )
    lease_s: float = Field(
        default=60.0, gt=0, description="A dead worker's accounts are free then."
    )

    log_level: str = Field(default="INFO")
    log_format: str = Field(default="console", pattern="^(console|json)$")

    @field_validator("upstream_domains", "trusted_proxies", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("upstream_url")
    @classmethod
    def _url_ends_with_slash(cls, value: str) -> str:
        return value if value.endswith("/") else value + "/"

    @field_validator("api_public_url")
    @classmethod
    def _public_url_ends_with_slash(cls, value: str) -> str:
        return value if value.endswith("/") or not value else value + "/"

    @field_validator("api_bind", "caldav_bind")
    @classmethod
    def _bind_has_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError("must be host:port")
        return value

    @field_validator("metrics_bind")
    @classmethod
    def _metrics_bind_has_port(cls, value: str) -> str:
        return cls._bind_has_port(value) if value else value

    @model_validator(mode="after")
    def _loopback_or_https(self) -> Self:
        if not self.upstream_allow_loopback and not self.upstream_url.startswith("https://"):
            raise ValueError("upstream_url must be https unless upstream_allow_loopback is set")
        return self

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'gateway.sqlite3').absolute()}"

    @property
    def docs_base(self) -> str:
        """What the links in problems begin with."""
        return self.api_public_url or "/"

    @property
    def keyring(self) -> Path:
        """The key file in force."""
        return self.keyring_file or self.data_dir / "keyring.json"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the TOML file :func:`load_settings` names."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _config.get())


_config: ContextVar[Path | None] = ContextVar("settings file", default=None)


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings; ``config`` names a TOML file, ``overrides`` win over everything.

    Raises ``ValueError`` (pydantic's ``ValidationError``) for unknown names and bad values, and
    ``FileNotFoundError`` when the named file does not exist.
    """
    named = os.environ.get("GATEWAY_CONFIG")
    path = config or (Path(named) if named else None)
    if path is not None and not path.is_file():
        raise FileNotFoundError(
            f"There is no settings file at {path}; check --config and GATEWAY_CONFIG."
        )
    token = _config.set(path)
    try:
        return Settings(**overrides)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The settings file {path} is not TOML: {error}") from None
    finally:
        _config.reset(token)
