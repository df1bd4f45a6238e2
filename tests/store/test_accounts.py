"""Connections: uniqueness, leases, take-over."""

import pytest

from gateway.core.errors import StateConflict
from gateway.store.access import principals
from gateway.store.accounts import accounts, leases
from gateway.store.accounts.accounts import Credential, Keyring
from tests.store.conftest import NOW, Place


def _connect(place: Place, keyring: Keyring, principal_id: str, email: str, number: str) -> str:
    with place.database.write() as session:
        return accounts.create_connection(
            session,
            keyring,
            principal_id=principal_id,
            credential=Credential(email, "abcd-efgh-ijkl-mnop"),
            account_number=number,
            principal_path="/p/",
            home_path="/h/",
            addresses=[email],
            trust_for_s=86_400,
            now=NOW,
        ).id


def _stranger(place: Place) -> str:
    with place.database.write() as session:
        other = principals.create_subaccount(session, name="Other", now=NOW)
        return principals.create_principal(
            session, subaccount_id=other.id, name="Bob", time_zone="UTC", now=NOW
        ).id


@pytest.mark.rule("R2")
@pytest.mark.parametrize(
    ("email", "number"),
    [("ANN@icloud.example ", "222"), ("bob@icloud.example", "111")],
    ids=["same address", "same account number"],
)
def test_one_account_is_connected_once_in_all_subaccounts(
    place: Place, keyring: Keyring, email: str, number: str
) -> None:
    stranger = _stranger(place)
    with pytest.raises(StateConflict) as refusal:
        _connect(place, keyring, stranger, email, number)
    assert refusal.value.code == "account-already-connected"


@pytest.mark.rule("R2")
def test_a_principal_has_one_connection(place: Place, keyring: Keyring) -> None:
    with pytest.raises(StateConflict) as refusal:
        _connect(place, keyring, place.principal.id, "second@icloud.example", "333")
    assert refusal.value.code == "principal-already-connected"


@pytest.mark.rule("R3")
def test_a_disconnected_account_can_be_connected_elsewhere_and_back(
    place: Place, keyring: Keyring
) -> None:
    stranger = _stranger(place)
    with place.database.write() as session:
        accounts.update_connection(session, place.connection.id, state="disconnected")
    assert _connect(place, keyring, stranger, "ann@icloud.example", "111")
    with pytest.raises(StateConflict):
        _connect(place, keyring, place.principal.id, "ann@icloud.example", "111")


@pytest.mark.rule("R3")
def test_reconnecting_revives_the_same_row(place: Place, keyring: Keyring) -> None:
    with place.database.write() as session:
        accounts.update_connection(session, place.connection.id, state="disconnected")
    again = _connect(place, keyring, place.principal.id, "ann@icloud.example", "111")
    assert again == place.connection.id


def test_leases_exclude_and_run_out(place: Place) -> None:
    def claim(owner: str, now: float) -> list[str]:
        with place.database.write() as session:
            return leases.claim_due(session, owner=owner, now=now, lease_s=60, limit=5)

    assert claim("w1", 100.0) == [place.connection.id]
    assert claim("w2", 159.0) == []
    assert claim("w2", 160.0) == [place.connection.id]
    with place.database.write() as session:
        args = (session, place.connection.id)
        assert not leases.renew_lease(*args, owner="w1", now=161, lease_s=60, spent="")
        assert leases.renew_lease(*args, owner="w2", now=161, lease_s=60, spent="")
        assert not leases.try_lease(*args, owner="w1", now=170, lease_s=60)
        leases.free_lease(*args, owner="w2", spent="")
        leases.postpone_sync(*args, next_sync_at=500.0)
        assert leases.try_lease(*args, owner="w1", now=170, lease_s=60)
        leases.free_lease(*args, owner="w1", spent="")
        leases.postpone_sync(*args, next_sync_at=500.0)
    assert claim("w1", 499.0) == []
    assert claim("w1", 500.0) == [place.connection.id]


def test_paused_and_disconnected_accounts_are_never_due(place: Place) -> None:
    for state in ("paused", "disconnected"):
        with place.database.write() as session:
            accounts.update_connection(session, place.connection.id, state=state)
            assert leases.claim_due(session, owner="w", now=1e12, lease_s=1, limit=5) == []
