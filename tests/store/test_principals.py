"""Logins and keys: shown once, revoked at once, bound to their subaccount."""

import pytest

from gateway.core.errors import NotFound
from gateway.store.access import keys, principals
from gateway.store.operations import erasing
from tests.store.conftest import NOW, Place


def test_a_login_works_until_it_is_revoked(place: Place) -> None:
    with place.database.write() as session:
        login, secret = principals.create_login(
            session, principal_id=place.principal.id, kind="device", label="iPhone", now=NOW
        )
        assert principals.verify_login(session, login.login, secret) == login
        assert principals.verify_login(session, login.login, secret + "x") is None
        assert principals.verify_login(session, "nobody", secret) is None
        principals.delete_login(session, place.principal.id, login.id)
        assert principals.verify_login(session, login.login, secret) is None
        with pytest.raises(NotFound):
            principals.delete_login(session, place.principal.id, login.id)


def test_secrets_are_long_and_not_stored(place: Place) -> None:
    with place.database.write() as session:
        _, secret = principals.create_login(
            session, principal_id=place.principal.id, kind="platform", now=NOW
        )
        rows = str(session.exec_driver_sql("SELECT * FROM logins").all())
    assert len(secret.replace("-", "")) == 32
    assert secret not in rows


def test_a_key_is_found_by_its_secret_only(place: Place) -> None:
    with place.database.write() as session:
        key, secret = keys.create_key(
            session,
            name="crm",
            scopes=frozenset({"platform", "freebusy:read"}),
            subaccount_id=place.principal.subaccount_id,
            now=NOW,
        )
        assert keys.find_key(session, secret) == key
        assert keys.find_key(session, key.id) is None
        with pytest.raises(NotFound):
            keys.delete_key(session, key.id, subaccount_id="sub_other")
        keys.delete_key(session, key.id)
        assert keys.find_key(session, secret) is None


def test_foreign_principals_are_not_found(place: Place) -> None:
    with place.database.read() as session:
        own = principals.get_principal(
            session, place.principal.id, subaccount_id=place.principal.subaccount_id
        )
        assert own == place.principal
        with pytest.raises(NotFound):
            principals.get_principal(session, place.principal.id, subaccount_id="sub_other")


def test_deleting_a_subaccount_erases_everything_in_it(place: Place) -> None:
    tables = ("subaccounts", "principals", "collections", "connections", "secrets", "objects")
    with place.database.write() as session:
        erasing.retire_subaccount(session, place.principal.subaccount_id, now=NOW)
        erasing.erase_some(session)
    with place.database.read() as session:
        counts = [session.exec_driver_sql(f"SELECT count(*) FROM {t}").scalar() for t in tables]
    assert counts == [0, 0, 0, 0, 0, 0]
