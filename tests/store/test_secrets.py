"""Ciphertexts are bound to their row, keys rotate, and nothing lies about in clear."""

import os
import traceback
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.core.errors import KeyMismatch, NotFound, StoreError
from gateway.store.accounts import accounts
from gateway.store.accounts.accounts import Credential, Keyring
from gateway.store.engine import Database, new_id
from tests.store.conftest import Place

PASSWORD = "abcd-efgh-ijkl-mnop"


def test_the_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    Keyring.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        Keyring.create(path)
    path.chmod(0o640)
    with pytest.raises(KeyMismatch, match="chmod 600"):
        Keyring.load(path)


def test_the_keyring_can_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keyring.json"
    key_id, ciphertext = Keyring.create(path).encrypt(b"x", owner_id="o", field="f")
    monkeypatch.setenv("GATEWAY_KEYRING", path.read_text())
    path.unlink()
    assert Keyring.load(path).decrypt(key_id, ciphertext, owner_id="o", field="f") == b"x"


def test_a_ciphertext_is_bound_to_row_and_field(keyring: Keyring) -> None:
    key_id, ciphertext = keyring.encrypt(b"secret", owner_id="con_1", field="app_password")
    assert b"secret" not in ciphertext
    for owner, field in (("con_2", "app_password"), ("con_1", "email")):
        with pytest.raises(StoreError):
            keyring.decrypt(key_id, ciphertext, owner_id=owner, field=field)
    broken = ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])
    with pytest.raises(StoreError):
        keyring.decrypt(key_id, broken, owner_id="con_1", field="app_password")


def test_two_encryptions_of_one_text_differ(keyring: Keyring) -> None:
    first = keyring.encrypt(b"same", owner_id="o", field="f")
    assert first != keyring.encrypt(b"same", owner_id="o", field="f")


def test_rotation_keeps_old_texts_readable_and_rewraps_them(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    rotated = Keyring.load(path).rotate(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with place.database.write() as session:
        assert accounts.rewrap_secrets(session, rotated) == 2
        assert accounts.rewrap_secrets(session, rotated) == 0
        credential = accounts.load_credential(session, Keyring.load(path), place.connection.id)
    assert credential == Credential("ann@icloud.example", PASSWORD)


@pytest.mark.rule("R2")
def test_blind_indexes_survive_rotation(keyring: Keyring, tmp_path: Path) -> None:
    before = accounts.email_index(keyring, " Ann@iCloud.example ")
    rotated = keyring.rotate(tmp_path / "keyring.json")
    assert accounts.email_index(rotated, "ann@icloud.EXAMPLE") == before
    assert accounts.account_index(rotated, "ann@icloud.example") != before


def test_nothing_is_stored_in_clear(place: Place) -> None:
    with place.database.read() as session:
        dump = "\n".join(
            str(row)
            for name in ("connections", "secrets", "principals", "upstream_calendars")
            for row in session.exec_driver_sql(f"SELECT * FROM {name}")
        )
    assert PASSWORD not in dump
    assert PASSWORD.replace("-", "") not in dump
    assert repr(Credential("a", PASSWORD)) == "<Credential>"


@pytest.mark.rule("R3")
def test_erasing_a_credential_leaves_nothing_to_load(place: Place, keyring: Keyring) -> None:
    with place.database.write() as session:
        accounts.erase_credential(session, place.connection.id)
        with pytest.raises(NotFound):
            accounts.load_credential(session, keyring, place.connection.id)
        assert session.exec_driver_sql("SELECT count(*) FROM secrets").scalar() == 0


def test_the_environment_is_not_written(keyring: Keyring) -> None:
    assert "GATEWAY_KEYRING" not in os.environ
    assert not any(key_id in repr(keyring) for key_id in keyring.key_ids)


def test_an_error_of_the_database_shows_no_value_of_its_statement(database: Database) -> None:
    statement, title = text("INSERT INTO nowhere VALUES (:title)"), new_id("title")
    with pytest.raises((StoreError, DBAPIError)) as failed, database.write() as session:
        session.execute(statement, {"title": title})
    shown = "".join(traceback.format_exception(failed.value))
    assert "nowhere" in shown
    assert title not in shown
