"""``gateway init`` and ``gateway migrate``: make an installation, bring it up to date."""

import time
from dataclasses import dataclass

from gateway.cli.options import ConfigOption, DataOption, read_settings
from gateway.cli.output import JsonFlag, refusals, show
from gateway.core.errors import Conflict
from gateway.settings import Settings
from gateway.store import keys
from gateway.store.accounts import Keyring
from gateway.store.engine import Database
from gateway.store.schema import migrate as migrate_schema

ADMIN_SCOPES = frozenset({"admin"})


@dataclass(frozen=True)
class Installation:
    """What ``init`` made; ``admin_key`` is shown this once."""

    data_dir: str
    keyring: str
    schema: str
    admin_key: str


def initialise(settings: Settings) -> Installation:
    """Make data folder, key file (mode 0600), schema and the first admin key.

    Raises :class:`Conflict` when the folder holds a gateway already: nothing is overwritten.
    """
    if settings.keyring.exists():
        raise Conflict(
            f"{settings.keyring} exists already; this folder holds a gateway.",
            code="already-initialised",
        )
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    Keyring.create(settings.keyring)
    database = Database(settings.database)
    try:
        schema = migrate_schema(database)
        with database.write() as session:
            _, secret = keys.create_key(
                session, name="first admin", scopes=ADMIN_SCOPES, subaccount_id=None, now=_now()
            )
    finally:
        database.close()
    return Installation(str(settings.data_dir), str(settings.keyring), schema, secret)


def init(config: ConfigOption = None, data: DataOption = None, as_json: JsonFlag = False) -> None:
    """Make a new installation: data folder, key, schema, first admin key (shown once)."""
    with refusals(as_json=as_json):
        made = initialise(read_settings(config, data))
    show(
        made,
        as_json=as_json,
        text=(
            f"Data folder  {made.data_dir}\n"
            f"Key file     {made.keyring}  (keep a copy apart from the database's backups)\n"
            f"Admin key    {made.admin_key}  (shown this once)\n\n"
            "Next: gateway serve"
        ),
    )


def migrate(
    config: ConfigOption = None, data: DataOption = None, as_json: JsonFlag = False
) -> None:
    """Bring the database to the schema of this version; safe to repeat."""
    with refusals(as_json=as_json):
        settings = read_settings(config, data)
        database = Database(settings.database)
        try:
            revision = migrate_schema(database)
        finally:
            database.close()
    show({"schema": revision}, as_json=as_json, text=f"The schema is at revision {revision}.")


def _now() -> int:
    return int(time.time())
