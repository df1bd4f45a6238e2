"""Finding an account in every form iCloud was seen to answer, and again when it moves."""

import pytest

from gateway.store.accounts import accounts, calendars
from gateway.store.accounts.accounts import Credential
from gateway.sync.connect import ask_account
from gateway.upstream.dav_xml import parse_multistatus, parse_xml
from gateway.upstream.discovery import parse_listing
from tests.sync.conftest import EMAIL, Site, event


@pytest.mark.row(1, 2)
@pytest.mark.rule("R1")
@pytest.mark.parametrize("form", ["in place", "root-href", "301", "302", "307", "308"])
async def test_discovery_in_every_form(fresh_site: Site, form: str) -> None:
    if form != "in place":
        fresh_site.server.world.faults.set("discovery-form", form=form)
    await fresh_site.connect()
    fresh_site.account.put("home", event("a"))
    fresh_site.roles()
    assert (await fresh_site.sync()).ok
    fresh_site.assert_mirror_equals("home")
    assert fresh_site.connection().home_path == fresh_site.account.home_path


@pytest.mark.row(2, 5, 6, 10)
@pytest.mark.parametrize(
    "quirk", ["absolute-home-set", "discovery-in-place", "cdata", "home-contents", "two-challenges"]
)
async def test_a_plainer_server_is_understood_too(fresh_site: Site, quirk: str) -> None:
    fresh_site.server.world.faults.set(quirk, off=True)
    fresh_site.account.put("home", event("a"))
    await fresh_site.connect()
    fresh_site.roles()
    assert (await fresh_site.sync()).ok
    fresh_site.assert_mirror_equals("home")


@pytest.mark.row(5, 32)
@pytest.mark.parametrize(
    "quirk", ["null-ctag", "escaped-at", "token-is-ctag", "empty-propstat-status"]
)
async def test_variants_of_a_listing_cost_nothing_more_when_idle(
    fresh_site: Site, quirk: str
) -> None:
    fresh_site.server.world.faults.set(quirk)
    fresh_site.account.put("home", event("a@b"), "a@b.ics")
    await fresh_site.connect()
    fresh_site.roles()
    assert (await fresh_site.sync()).ok
    fresh_site.assert_mirror_equals("home")
    fresh_site.requests()
    for _ in range(3):
        assert (await fresh_site.sync()).ok
    assert fresh_site.requests() == ["PROPFIND"] * 3
    fresh_site.account.put("home", event("a@b", summary="New"), "a@b.ics")
    assert (await fresh_site.sync()).ok
    fresh_site.assert_mirror_equals("home")


@pytest.mark.row(11)
@pytest.mark.rule("R8")
@pytest.mark.parametrize("quirk", ["subscription-with-calendar", "subscription-without-source"])
async def test_a_subscription_is_one_in_every_form_and_never_queried(
    fresh_site: Site, quirk: str
) -> None:
    fresh_site.server.world.faults.set(quirk)
    await fresh_site.connect()
    fresh_site.roles()
    await fresh_site.sync()
    found = fresh_site.calendar("Public holidays")
    assert (found.kind, found.refusal) == ("subscribed", "calendar-subscribed")
    segment = found.path.rstrip("/").rpartition("/")[2]
    assert fresh_site.log(calendar=segment) == []


@pytest.mark.row(3)
@pytest.mark.rule("R4")
@pytest.mark.parametrize("refuse", ["401", "404", "connect"])
async def test_a_move_to_another_partition_goes_unnoticed(site: Site, refuse: str) -> None:
    site.account.put("home", event("before"))
    await site.sync()
    known = [c.id for c in site.read(calendars.list_calendars, site.connection_id)]
    site.account.move_partition(refuse=refuse)
    site.account.put("home", event("after"))
    site.clock.advance(300)
    assert (await site.sync()).ok
    site.assert_mirror_equals("home")
    assert [c.id for c in site.read(calendars.list_calendars, site.connection_id)] == known
    assert site.connection().state == "ok"


async def test_an_account_whose_home_moved_is_discovered_again(site: Site) -> None:
    with site.database.write() as session:
        accounts.update_connection(session, site.connection_id, home_path="/999/calendars/")
    site.account.put("home", event("a"))
    assert (await site.sync()).ok
    site.assert_mirror_equals("home")
    assert site.connection().home_path == site.account.home_path


async def test_addresses_of_the_owner_come_from_the_account_and_the_login(fresh_site: Site) -> None:
    found = await ask_account(
        fresh_site.context.settings,
        Credential(f" {EMAIL.upper()} ".strip(), fresh_site.password),
        wire=fresh_site.context.wire,
    )
    assert EMAIL in found.addresses
    assert f"urn:uuid:{fresh_site.account.uuid}".casefold() in found.addresses
    assert not any(address.startswith("mailto:") for address in found.addresses)
    assert found.account_number == fresh_site.account.dsid
    assert EMAIL not in repr(found)
    assert fresh_site.account.dsid not in repr(found).replace(found.home_path, "").replace(
        found.principal_path, ""
    ).replace(f"/{fresh_site.account.dsid}/calendars", "")


# --- reading a listing, without a server ---

HEAD = (
    "<multistatus xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav' "
    "xmlns:CS='http://calendarserver.org/ns/' xmlns:A='http://apple.com/ns/ical/'>"
)


def listed(types: str, more: str = "", path: str = "/1/calendars/x/"):
    body = (
        f"{HEAD}<response><href>{path}</href><propstat><prop><resourcetype>{types}</resourcetype>"
        f"{more}</prop><status>HTTP/1.1 200 OK</status></propstat></response></multistatus>"
    )
    found = parse_listing(parse_multistatus(parse_xml(body.encode())), "/1/calendars/")
    return found[0] if found else None


CALENDAR = "<collection/><C:calendar/>"


@pytest.mark.rule("R5", "R6")
@pytest.mark.parametrize(
    ("privileges", "writable"),
    [
        ("", True),
        ("<privilege><all/></privilege>", True),
        ("<privilege><read/></privilege><privilege><write/></privilege>", True),
        ("<privilege><write-content/></privilege>", True),
        ("<privilege><bind/></privilege>", True),
        ("<privilege><read/></privilege>", False),
        ("<privilege><read/></privilege><privilege><write-properties/></privilege>", False),
    ],
)
def test_writability_is_the_privilege_set_of_the_collection(privileges, writable) -> None:
    more = f"<current-user-privilege-set>{privileges}</current-user-privilege-set>"
    found = listed(CALENDAR, more)
    assert found.writable is writable
    assert found.refusal == (None if writable else "calendar-read-only")


def test_a_missing_privilege_set_is_no_denial() -> None:
    assert listed(CALENDAR).writable


@pytest.mark.rule("R5", "R8")
@pytest.mark.parametrize(
    ("types", "more", "path", "kind"),
    [
        (CALENDAR, "", "/1/calendars/x/", "calendar"),
        (CALENDAR, "<C:supported-calendar-component-set/>", "/1/calendars/x/", "calendar"),
        (
            CALENDAR,
            "<C:supported-calendar-component-set><C:comp name='VTODO'/>"
            "</C:supported-calendar-component-set>",
            "/1/calendars/x/",
            "reminders",
        ),
        ("<collection/><CS:subscribed/>", "", "/1/calendars/x/", "subscribed"),
        (f"{CALENDAR}<CS:subscribed/>", "", "/1/calendars/x/", "subscribed"),
        (
            CALENDAR,
            "<CS:source><href>webcal://a/b</href></CS:source>",
            "/1/calendars/x/",
            "subscribed",
        ),
        (CALENDAR, "<CS:source/>", "/1/calendars/x/", "calendar"),
        ("<collection/><C:schedule-inbox/>", "", "/1/calendars/x/", "scheduling"),
        ("<collection/><CS:notification/>", "", "/1/calendars/x/", "scheduling"),
        (CALENDAR, "", "/1/calendars/inbox/", "scheduling"),
    ],
)
def test_what_a_collection_is(types, more, path, kind) -> None:
    assert listed(types, more, path).kind == kind


@pytest.mark.parametrize("path", ["/1/calendars/", "/1/calendars"])
def test_the_home_itself_and_plain_folders_are_no_calendars(path: str) -> None:
    assert listed(CALENDAR, path=path) is None
    assert listed("<collection/>") is None


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("#1badf8ff", "#1BADF8"),
        ("#1BADF8", "#1BADF8"),
        ("blue", None),
        ("#12345", None),
        ("#gggggg", None),
        ("", None),
    ],
)
def test_colours_are_cut_to_six_digits(sent, kept) -> None:
    assert listed(CALENDAR, f"<A:calendar-color>{sent}</A:calendar-color>").color == kept


def test_a_calendar_may_be_marked_transparent() -> None:
    more = "<C:schedule-calendar-transp><C:{}/></C:schedule-calendar-transp>"
    assert listed(CALENDAR, more.format("transparent")).transparent
    assert not listed(CALENDAR, more.format("opaque")).transparent
