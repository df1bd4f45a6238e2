"""``gateway init`` and ``gateway migrate``: make an installation, bring it up to date."""

import os
import time
from dataclasses import dataclass

from gateway.cli.options import ConfigOption, DataOption, opened_database, read_settings
from gateway.cli.output import JsonFlag, refusals, show
from gateway.core.errors import KeyMismatch, StateConflict
from gateway.services.access.keys import create_admin_key
from gateway.settings import Settings
from gateway.store.access.keys import count_unbound_admins
from gateway.store.accounts.accounts import KEYRING_VARIABLE, Keyring
from gateway.store.accounts.key_checks import (
    bind_keyring,
    check_keyring,
    has_traces_of_a_key,
    replace_unused_keys,
)
from gateway.store.engine import Database
from gateway.store.schema import find_schema_problem
from gateway.store.schema import migrate as migrate_schema
from gateway.store.urls import database_exists


@dataclass(frozen=True)
class Installation:
    """What ``init`` made; ``admin_key`` is shown this once."""

    data_dir: str
    keyring: str
    schema: str
    admin_key: str


def initialise(settings: Settings) -> Installation:
    """Make data folder, key file (mode 0600), schema and the first admin key.

    What was begun and not ended is ended: a key file without a database, a database without an
    admin key. Raises :class:`StateConflict` when all is there already, and :class:`StoreError`
    when key file and database do not belong together: no key is made for a database with secrets
    of another (R46). Nothing is overwritten.
    """
    _check_before(settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    keyring, is_new = _keyring_of(settings)
    database = Database(settings.database)
    try:
        schema = migrate_schema(database)
        if not is_new:
            bind_keyring(database, keyring)
        with database.write() as session:
            if is_new:
                replace_unused_keys(session, keyring)
            secret = create_admin_key(session, name="first admin", now=now_s())
    finally:
        database.close()
    return Installation(str(settings.data_dir), str(settings.keyring), schema, secret)


def _check_before(settings: Settings) -> None:
    """Raise for whatever stands in the way, before anything is written."""
    if not database_exists(settings.database):
        return
    database = Database(settings.database)
    try:
        problem = find_schema_problem(database)
        if problem is not None and problem.code == "not-initialised":
            return
        if problem is not None:
            raise problem
        with database.read() as session:
            if _has_keyring(settings):
                check_keyring(session, Keyring.load(settings.keyring))
                if count_unbound_admins(session):
                    raise StateConflict(
                        f"There is a gateway at {settings.data_dir} already; `gateway keys --add"
                        " admin` makes another admin key.",
                        code="already-initialised",
                    )
            elif has_traces_of_a_key(session):
                raise KeyMismatch(
                    f"There is no key file at {settings.keyring}, and the database holds what was"
                    " encrypted with it; put its copy back. If there is none, start with an empty"
                    " database and connect every account anew.",
                    code="key-missing",
                )
    finally:
        database.close()


def _has_keyring(settings: Settings) -> bool:
    return KEYRING_VARIABLE in os.environ or settings.keyring.exists()


def _keyring_of(settings: Settings) -> tuple[Keyring, bool]:
    """Return the keyring, and whether it was made just now."""
    if _has_keyring(settings):
        return Keyring.load(settings.keyring), False
    try:
        return Keyring.create(settings.keyring), True
    except FileExistsError:
        raise StateConflict(
            f"{settings.keyring} was made by somebody else at the same time; look at what they do.",
            code="already-initialised",
        ) from None


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
        with opened_database(settings) as database:
            revision = migrate_schema(database)
    show({"schema": revision}, as_json=as_json, text=f"The schema is at revision {revision}.")


def now_s() -> int:
    """Return the present, UTC epoch seconds."""
    return int(time.time())
