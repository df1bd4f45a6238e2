"""A store and its key belong together: found at start, before anything is written (R45, R46)."""

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from gateway.cli.commands.setup import Installation, initialise
from gateway.cli.options import opened
from gateway.core.errors import KeyMismatch, StateConflict
from gateway.settings import Settings
from gateway.store.access.keys import list_keys
from gateway.store.accounts.accounts import Keyring
from gateway.store.accounts.key_checks import bind_keyring, check_keyring
from gateway.store.engine import Database, Session
from gateway.store.tables import api_keys, key_checks, secrets
from tests.store.conftest import Place

Damage = Callable[[Path], None]


def stored_checks(session: Session) -> dict[str, bytes]:
    """Return the check values by key id."""
    return {row.key_id: bytes(row.check_value) for row in session.execute(select(key_checks))}


def install(folder: Path, *, with_secret: bool = True) -> Settings:
    """Make an installation; with a secret, somebody is connected."""
    settings = Settings(data_dir=folder)
    initialise(settings)
    if with_secret:
        with opened(settings) as gateway, gateway.database.write() as session:
            add_secret(session, gateway.key)
    return settings


def add_secret(session: Session, keyring: Keyring) -> None:
    """Store one secret."""
    key_id, ciphertext = keyring.encrypt(b"x", owner_id="con_1", field="email")
    row = {"owner_id": "con_1", "field": "email", "key_id": key_id, "ciphertext": ciphertext}
    session.execute(secrets.insert().values(row))


def rewrite(path: Path, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    """Change the keys in a key file; the last one is current, the first makes indexes."""
    keys = change(json.loads(path.read_text())["keys"])
    path.write_text(json.dumps({"keys": keys, "current": [*keys][-1], "index": next(iter(keys))}))


def replaced_by_another(path: Path) -> None:
    """Put the key file of another installation in the place of this one's."""
    path.unlink()
    Keyring.create(path)


DAMAGES: dict[str, tuple[Damage, str]] = {
    "missing": (lambda path: path.unlink(), "key-missing"),
    "a folder": (lambda path: (path.unlink(), path.mkdir(mode=0o700)), "key-unreadable"),
    "empty": (lambda path: path.write_text(""), "key-malformed"),
    "no object": (lambda path: path.write_text("{}"), "key-malformed"),
    "a list": (lambda path: path.write_text("[]"), "key-malformed"),
    "no JSON": (lambda path: path.write_text("key: secret"), "key-malformed"),
    "no UTF-8": (lambda path: path.write_bytes(b"\xff\xfe\x00"), "key-malformed"),
    "no keys": (lambda path: path.write_text('{"keys": {}, "current": "k1"}'), "key-malformed"),
    "a number for a key": (
        lambda path: path.write_text('{"keys": {"k1": 7}, "current": "k1"}'),
        "key-malformed",
    ),
    "a short key": (
        lambda path: rewrite(path, lambda keys: dict.fromkeys(keys, "c2hvcnQ=")),
        "key-malformed",
    ),
    "another key of the same name": (
        lambda path: rewrite(
            path, lambda keys: {name: b64encode(b"7" * 32).decode() for name in keys}
        ),
        "key-foreign",
    ),
    "of another database": (replaced_by_another, "key-foreign"),
    "open to others": (lambda path: path.chmod(0o644), "key-open-to-others"),
}


@pytest.mark.rule("R45", "R46")
@pytest.mark.parametrize("case", DAMAGES)
@pytest.mark.parametrize("with_secret", [True, False], ids=["secrets", "none"])
def test_a_damaged_key_file_is_told_and_nothing_is_written(
    tmp_path: Path, case: str, with_secret: bool
) -> None:
    damage, code = DAMAGES[case]
    settings = install(tmp_path / "data", with_secret=with_secret)
    damage(settings.keyring)
    before = (tmp_path / "data" / "gateway.sqlite3").read_bytes()
    with pytest.raises(KeyMismatch) as told, opened(settings):
        pass
    assert told.value.code == code
    assert str(settings.keyring) in told.value.detail or code == "key-foreign"
    if with_secret or case != "missing":
        with pytest.raises(KeyMismatch) as refused:
            initialise(settings)
        assert refused.value.code == code
        assert settings.keyring.exists() == (case != "missing")
    assert (tmp_path / "data" / "gateway.sqlite3").read_bytes() == before
    with opened(settings, with_key=False):
        pass  # the CalDAV process never has the key and does not miss it


@pytest.mark.rule("R46")
def test_init_makes_a_key_where_nothing_was_made_with_one(tmp_path: Path) -> None:
    settings = install(tmp_path / "data", with_secret=False)
    settings.keyring.unlink()
    assert isinstance(initialise(settings), Installation)
    with opened(settings) as gateway, gateway.database.read() as session:
        assert set(stored_checks(session)) == gateway.key.key_ids


@pytest.mark.rule("R46")
@pytest.mark.parametrize("half", ["only the key file", "no admin key", "nothing but folders"])
def test_init_ends_what_was_begun(tmp_path: Path, half: str) -> None:
    settings = install(tmp_path / "data", with_secret=half == "no admin key")
    key = settings.keyring.read_text()
    if half == "no admin key":
        with opened(settings) as gateway, gateway.database.write() as session:
            session.execute(delete(api_keys))
    else:
        for path in settings.data_dir.glob("gateway.sqlite3*"):
            path.unlink()
    if half == "nothing but folders":
        settings.keyring.unlink()
    made = initialise(settings)
    assert (settings.keyring.read_text() == key) == (half != "nothing but folders")
    with opened(settings) as gateway, gateway.database.read() as session:
        assert len(list_keys(session)) == 1
    assert made.admin_key.startswith("gw_")
    with pytest.raises(StateConflict, match="gateway keys --add admin"):
        initialise(settings)


@pytest.mark.rule("R45")
def test_key_ids_are_random_and_indexes_survive_rotation(tmp_path: Path) -> None:
    first = Keyring.create(tmp_path / "a.json")
    second = Keyring.create(tmp_path / "b.json")
    assert not first.key_ids & second.key_ids
    rotated = first.rotate(tmp_path / "a.json")
    assert rotated.index_key == first.index_key == Keyring.load(tmp_path / "a.json").index_key
    assert rotated.current != first.current


@pytest.mark.rule("R45")
def test_an_older_key_file_keeps_its_indexes(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    keys = {"k1": b64encode(b"1" * 32).decode(), "k2": b64encode(b"2" * 32).decode()}
    path.write_text(json.dumps({"current": "k2", "keys": keys}))
    path.chmod(0o600)
    old, only = Keyring.load(path), Keyring({"k1": b"1" * 32}, "k1")
    assert old.blind_index("x", purpose="email") == only.blind_index("x", purpose="email")


@pytest.mark.rule("R45")
def test_a_database_without_check_values_gets_them_when_a_key_proves_itself(
    place: Place, keyring: Keyring, tmp_path: Path
) -> None:
    with place.database.write() as session:
        session.execute(delete(key_checks))
        session.execute(  # one damaged secret proves nothing
            update(secrets).where(secrets.c.field == "email").values(ciphertext=b"\x01damaged")
        )
    other = Keyring({next(iter(keyring.key_ids)): b"7" * 32}, next(iter(keyring.key_ids)))
    for foreign in (other, Keyring.create(tmp_path / "other.json")):
        with pytest.raises(KeyMismatch) as told:
            bind_keyring(place.database, foreign)
        assert told.value.code == "key-foreign"
    with place.database.read() as session:
        assert stored_checks(session) == {}
    bind_keyring(place.database, keyring)
    with place.database.read() as session:
        assert set(stored_checks(session)) == keyring.key_ids
        assert check_keyring(session, keyring) == frozenset()


@pytest.mark.rule("R45")
def test_a_rotated_key_is_remembered_and_the_old_one_missed(
    place: Place, keyring: Keyring, tmp_path: Path
) -> None:
    bind_keyring(place.database, keyring)
    rotated = keyring.rotate(tmp_path / "keyring.json")
    bind_keyring(place.database, rotated)
    with place.database.read() as session:
        assert set(stored_checks(session)) == rotated.key_ids
    path = tmp_path / "keyring.json"
    for without in (keyring.current, rotated.current):
        whole = path.read_text()
        rewrite(path, lambda keys, gone=without: {n: k for n, k in keys.items() if n != gone})
        if without == rotated.current:  # nothing is encrypted with it yet: it may go
            bind_keyring(place.database, Keyring.load(path))
        else:
            with pytest.raises(KeyMismatch, match=keyring.current) as told:
                bind_keyring(place.database, Keyring.load(path))
            assert told.value.code == "key-incomplete"
        path.write_text(whole)


@pytest.mark.rule("R45")
def test_a_damaged_row_locks_nobody_out(place: Place, keyring: Keyring) -> None:
    """It is its own account's trouble, and nobody else's."""
    bind_keyring(place.database, keyring)
    with place.database.write() as session:
        session.execute(update(secrets).values(ciphertext=b"\x01rubbish", key_id="nobody's"))
    bind_keyring(place.database, keyring)


def test_two_processes_may_bind_at_once(database: Database, keyring: Keyring) -> None:
    bind_keyring(database, keyring)
    bind_keyring(database, keyring)
    with database.read() as session:
        assert len(stored_checks(session)) == 1
