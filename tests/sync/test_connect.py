"""Connecting, refusing, replacing, leaving and coming back (R1-R5, R8)."""

import pytest

from gateway.core.errors import (
    CredentialRejected,
    GatewayError,
    InvalidInput,
    NotFound,
    StateConflict,
)
from gateway.settings import Settings
from gateway.store.accounts import accounts, calendars
from gateway.store.accounts.accounts import Credential
from gateway.store.objects import collections, objects
from gateway.store.outbox import outbox
from gateway.sync.connect import (
    app_specific,
    check_credential,
    connect,
    disconnect,
    pause,
    replace_credential,
    resume,
    test_connection,
)
from tests.sync.conftest import EMAIL, Site, create_principal, event

test_connection.__test__ = False  # a use case, not a test
GOOD = "abcd-efgh-ijkl-mnop"


def everything_stored(site: Site) -> int:
    """How many rows tell of connections: the proof that a refusal left nothing."""
    connections = site.read(accounts.list_connections)
    return len(connections) + sum(
        len(site.read(calendars.list_calendars, connection.id)) for connection in connections
    )


@pytest.mark.rule("R1")
@pytest.mark.parametrize("typed", [GOOD, "abcdefghijklmnop", f"  {GOOD}\n", "\tabcdefghijklmnop "])
def test_blanks_are_cut_and_hyphens_added(typed: str) -> None:
    assert app_specific(f" {EMAIL} ", typed) == Credential(EMAIL, GOOD)


@pytest.mark.rule("R1")
@pytest.mark.parametrize(
    "typed",
    [
        "",
        "correct horse",
        "Tr0ub4dor&3",
        "abcd-efgh-ijkl",
        "abcdefghijklmnopq",
        "1234-5678-9012-3456",
    ],
)
async def test_what_cannot_be_app_specific_is_refused_before_any_request(
    fresh_site: Site, typed: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        await connect(fresh_site.context, fresh_site.principal_id, EMAIL, typed)
    assert refusal.value.code == "credential-not-app-specific"
    assert "account.apple.com" in refusal.value.detail
    assert fresh_site.server.world.journal.last_seq == 0
    assert everything_stored(fresh_site) == 0


@pytest.mark.rule("R1", "R8")
@pytest.mark.parametrize(
    "account",
    [
        "webcal://p12-calendars.icloud.com/published/2/abc",
        "WEBCAL:something",
        "https://example.com/feed.ics",
        "p12-caldav.icloud.com/published/2/abc",
        "holidays@example.com/team.ics",
    ],
)
async def test_the_address_of_a_calendar_is_not_an_account(fresh_site: Site, account: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        await connect(fresh_site.context, fresh_site.principal_id, account, GOOD)
    assert refusal.value.code == "calendar-subscribed"
    assert fresh_site.server.world.journal.last_seq == 0


@pytest.mark.row(6)
@pytest.mark.rule("R1")
@pytest.mark.parametrize("how", ["wrong", "revoked", "switched off", "alias", "unknown", "403"])
async def test_a_rejected_credential_costs_one_request_and_names_the_causes(
    fresh_site: Site, how: str
) -> None:
    email, password = EMAIL, fresh_site.password
    if how == "wrong":
        password = GOOD
    elif how == "revoked":
        fresh_site.account.revoke()
    elif how == "switched off":
        fresh_site.fault("calendar-switched-off")
    elif how == "alias":
        fresh_site.account.aliases.add("alias@icloud.com")
        email = "alias@icloud.com"
    else:
        email = "nobody@icloud.com"
        if how == "403":
            fresh_site.server.world.faults.set("unknown-user-403")
    with pytest.raises(CredentialRejected) as refusal:
        await connect(fresh_site.context, fresh_site.principal_id, email, password)
    assert refusal.value.code == "credential-rejected"
    assert "alias" in refusal.value.detail
    assert fresh_site.server.world.journal.last_seq == 1
    assert everything_stored(fresh_site) == 0


@pytest.mark.rule("R1")
@pytest.mark.parametrize(
    ("fault", "params", "code"),
    [
        ("throttle", {}, "upstream-throttled"),
        ("throttle", {"form": "429"}, "upstream-throttled"),
        ("status", {"code": 502}, "upstream-unreachable"),
        ("reset", {}, "upstream-unreachable"),
        ("cut-body", {}, "upstream-unreachable"),
    ],
)
async def test_an_upstream_in_trouble_is_told_apart_from_a_wrong_password(
    fresh_site: Site, fault: str, params: dict, code: str
) -> None:
    fresh_site.server.world.faults.set(fault, **params)
    with pytest.raises(GatewayError) as refusal:
        await connect(fresh_site.context, fresh_site.principal_id, EMAIL, fresh_site.password)
    assert refusal.value.code == code
    assert everything_stored(fresh_site) == 0


@pytest.mark.rule("R1")
async def test_another_web_server_is_not_icloud(tmp_path, unused_tcp_port) -> None:
    import asyncio

    async def answer(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nHey!")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", unused_tcp_port)
    async with server:
        settings = Settings(
            upstream_url=f"http://127.0.0.1:{unused_tcp_port}/",
            upstream_allow_loopback=True,
            data_dir=tmp_path,
        )
        with pytest.raises(GatewayError) as refusal:
            await check_credential(settings, Credential(EMAIL, GOOD))
    assert refusal.value.code == "not-icloud"


@pytest.mark.rule("R1")
async def test_nobody_listening_is_unreachable(tmp_path, unused_tcp_port) -> None:
    settings = Settings(
        upstream_url=f"http://127.0.0.1:{unused_tcp_port}/",
        upstream_allow_loopback=True,
        data_dir=tmp_path,
    )
    with pytest.raises(GatewayError) as refusal:
        await check_credential(settings, Credential(EMAIL, GOOD))
    assert refusal.value.code == "upstream-unreachable"


@pytest.mark.row(10)
@pytest.mark.rule("R5")
async def test_the_list_names_every_calendar_and_why_not(fresh_site: Site) -> None:
    await fresh_site.connect()
    listed = fresh_site.read(calendars.list_calendars, fresh_site.connection_id)
    assert [(c.name, c.kind, c.writable, c.refusal) for c in listed] == [
        ("Home", "calendar", True, None),
        ("Work", "calendar", True, None),
        ("Club fixtures", "calendar", False, "calendar-read-only"),
        ("Family", "calendar", True, None),
        ("Public holidays", "subscribed", False, "calendar-subscribed"),
        ("Reminders", "reminders", False, "calendar-no-events"),
        ("inbox", "scheduling", False, "calendar-scheduling"),
        ("outbox", "scheduling", False, "calendar-scheduling"),
        ("notification", "scheduling", False, "calendar-scheduling"),
    ]
    assert {c.role for c in listed} == {"none"}


async def test_a_cold_connect_is_three_requests_and_stores_no_host(fresh_site: Site) -> None:
    await fresh_site.connect()
    assert fresh_site.requests() == ["PROPFIND"] * 3
    connection = fresh_site.connection()
    assert connection.home_path == fresh_site.account.home_path
    assert connection.addresses == tuple(sorted(connection.addresses))
    assert EMAIL in connection.addresses
    stored = repr(fresh_site.read(calendars.list_calendars, fresh_site.connection_id))
    assert "localhost" not in stored + repr(connection)


@pytest.mark.rule("R2")
async def test_an_account_is_connected_once_and_only_owners_of_the_password_hear_of_it(
    fresh_site: Site,
) -> None:
    await fresh_site.connect()
    other = create_principal(fresh_site.database, name="Sam")
    with pytest.raises(CredentialRejected):
        await connect(fresh_site.context, other, EMAIL, GOOD)
    with pytest.raises(StateConflict) as refusal:
        await connect(fresh_site.context, other, EMAIL.upper(), fresh_site.password)
    assert refusal.value.code == "account-already-connected"
    with pytest.raises(StateConflict) as refusal:
        await fresh_site.connect()
    assert refusal.value.code == "principal-already-connected"


@pytest.mark.rule("R3")
async def test_the_password_is_replaced_in_place(site: Site) -> None:
    site.account.put("home", event("a"))
    await site.sync()
    site.account.revoke()
    await site.sync()
    assert site.connection().state == "credential-revoked"
    before = (site.mirrored("home"), site.calendar("home").role)
    with pytest.raises(CredentialRejected):
        await replace_credential(site.context, site.connection_id, GOOD)
    assert site.connection().state == "credential-revoked"
    fresh = site.account.issue_app_password()
    changed = await replace_credential(
        site.context, site.connection_id, f" {fresh.replace('-', '')} "
    )
    assert (changed.state, changed.problem, changed.next_sync_at) == ("ok", None, 0.0)
    assert (site.mirrored("home"), site.calendar("home").role) == before
    assert (await site.sync()).ok


@pytest.mark.rule("R3")
async def test_another_accounts_password_does_not_replace(site: Site) -> None:
    stranger = site.server.world.add_account("sam@icloud.com")
    with pytest.raises(StateConflict) as refusal:
        await replace_credential(
            site.context,
            site.connection_id,
            stranger.issue_app_password(),
            email="sam@icloud.com",
        )
    assert refusal.value.code == "different-account"
    credential = site.read(accounts.load_credential, site.context.keyring, site.connection_id)
    assert credential.email == EMAIL


@pytest.mark.rule("R3")
async def test_disconnecting_erases_secret_and_mirror_and_keeps_appointments(site: Site) -> None:
    site.account.put("home", event("a"))
    site.account.put("home", b"BEGIN:VCALENDAR\r\nnonsense", "junk.ics")
    site.book("kept")
    await site.sync()
    site.book("waiting")
    await disconnect(site.context, site.connection_id)
    assert site.connection().state == "disconnected"
    with pytest.raises(NotFound):
        site.read(accounts.load_credential, site.context.keyring, site.connection_id)
    with site.database.read() as session:
        assert session.exec_driver_sql("SELECT count(*) FROM secrets").scalar() == 0
        kinds = session.exec_driver_sql("SELECT DISTINCT kind FROM objects").scalars().all()
    assert kinds == ["appointment"]
    left = site.read(collections.list_collections, site.principal_id)
    assert [c.kind for c in left] == ["platform"]
    assert {row.state for row in site.ledger()} == {"pushed", "pending"}
    assert [(e.state, e.reason) for e in site.messages()] == [("parked", "disconnected")]
    site.requests()
    assert (await site.sync()).state == "disconnected"
    assert site.requests() == []


@pytest.mark.rule("R3")
async def test_reconnecting_adopts_own_pushes_and_goes_on_with_waiting_ones(site: Site) -> None:
    site.account.put("home", event("a"))
    site.book("kept")
    await site.sync()
    site.book("waiting")
    await disconnect(site.context, site.connection_id)
    await site.connect()
    site.roles()
    assert (await site.sync()).ok
    assert (await site.sync()).ok
    assert set(site.mirrored("home")) == {"a.ics"}
    assert site.messages() == []
    assert {row.state for row in site.ledger()} == {"pushed"}
    assert len(site.upstream_names("home")) == 3
    site.assert_mirror_equals("home")


@pytest.mark.rule("R4")
async def test_testing_a_revoked_connection_lifts_the_state_when_it_works_again(site: Site) -> None:
    site.fault("calendar-switched-off")
    await site.sync()
    with pytest.raises(CredentialRejected):
        await test_connection(site.context, site.connection_id)
    assert site.connection().state == "credential-revoked"
    site.server.world.faults.clear("calendar-switched-off")
    await test_connection(site.context, site.connection_id)
    assert site.connection().state == "ok"


async def test_a_paused_account_is_left_alone_until_resumed(site: Site) -> None:
    await pause(site.context, site.connection_id)
    site.book()
    assert (await site.sync()).state == "paused"
    assert site.requests() == []
    await resume(site.context, site.connection_id)
    assert (await site.sync()).pushed == 1
    assert site.read(objects.find_object_by_id, site.ledger()[0].object_id)
    assert site.read(outbox.list_messages, site.principal_id) == []
