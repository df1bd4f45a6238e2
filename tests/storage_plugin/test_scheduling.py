"""The scheduling outbox: when are colleagues busy (RFC 6638), and never an invitation."""

import pytest

from gateway.store import tables
from gateway.store.access.principals import create_principal, create_subaccount, get_principal
from tests.storage_plugin.conftest import at, now
from tests.storage_plugin.dav import TEXT, C, D, event, wrap
from tests.storage_plugin.test_freebusy import periods

ANNA = "mailto:anna@example.org"


def add_person(world, email: str, *, elsewhere: bool = False) -> str:
    """Add a colleague, or a stranger in another subaccount; return the id."""
    with world.database.write() as session:
        mine = get_principal(session, world.principal_id).subaccount_id
        if elsewhere:
            mine = create_subaccount(session, name="Other", now=now()).id
        return create_principal(
            session, subaccount_id=mine, name="B", email=email, time_zone="Europe/Berlin", now=now()
        ).id


def put_as(world, principal_id: str, name: str, body: bytes) -> None:
    """Put an event into the calendar of a colleague."""
    was = world.principal_id
    world.principal_id = principal_id
    login = world.new_login("device")
    assert login.put(f"{world.platform_path}{name}", body).status == 201
    world.principal_id = was


def ask_as(world, principal_id: str, body: bytes):
    """Ask at the outbox of a colleague."""
    was, world.principal_id = world.principal_id, principal_id
    answer = world.new_login("device").post(f"{world.home}outbox/", body)
    world.principal_id = was
    return answer


def question(*people: str, organizer: str = ANNA, start: str = at(0), end: str = at(24)) -> bytes:
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//test//EN",
        "METHOD:REQUEST",
        "BEGIN:VFREEBUSY",
        "UID:question-1",
        "DTSTAMP:20260101T000000Z",
        f"DTSTART:{start}",
        f"DTEND:{end}",
        f"ORGANIZER;CN=Anna:{organizer}",
        *(f"ATTENDEE;PARTSTAT=NEEDS-ACTION:{address}" for address in people),
        "END:VFREEBUSY",
        "END:VCALENDAR",
        "",
    ]
    return "\r\n".join(lines).encode()


def told(answer) -> dict[str, tuple[str, str]]:
    """The status and the calendar of each recipient."""
    return {
        str(node.findtext(f"{C}recipient/{D}href")): (
            str(node.findtext(f"{C}request-status")),
            node.findtext(f"{C}calendar-data") or "",
        )
        for node in answer.xml.iter(f"{C}response")
    }


class Text:
    """A calendar in the form :func:`periods` reads."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n").replace("\n", "\r\n")


@pytest.mark.rule("R22", "R26")
def test_colleagues_are_told_one_by_one(world):
    bob = add_person(world, "Bob@Example.org")
    add_person(world, "eve@example.net", elsewhere=True)
    put_as(world, bob, "b.ics", event("b", at(14), at(15), summary="Secret"))
    world.mirror_put("a.ics", event("a", at(9), at(10), "STATUS:TENTATIVE"))
    outbox = f"{world.home}outbox/"
    asked = (ANNA, "MAILTO:bob@example.org", f"/{bob}/", "mailto:eve@example.net", "x")
    answer = world.device.post(outbox, question(*asked))
    assert answer.status == 200
    assert answer.xml.tag == f"{C}schedule-response"
    found = told(answer)
    assert list(found) == list(asked)
    bobs = [("BUSY", f"{at(14)}/{at(15)}")]
    for address, expected in (
        (ANNA, [("BUSY-TENTATIVE", f"{at(9)}/{at(10)}")]),
        ("MAILTO:bob@example.org", bobs),
        (f"/{bob}/", bobs),
    ):
        status, calendar = found[address]
        assert (status, periods(Text(calendar))) == ("2.0;Success", expected)
        assert calendar.count("BEGIN:VFREEBUSY") == 1
        for line in ("METHOD:REPLY", "UID:question-1", f"ATTENDEE:{address}", f"ORGANIZER:{ANNA}"):
            assert line in calendar
    for stranger in ("mailto:eve@example.net", "x"):
        assert found[stranger] == ("3.7;Invalid calendar user", "")
    assert "Secret" not in answer.text


@pytest.mark.rule("R23")
def test_the_outbox_says_what_the_report_says(world):
    world.mirror_put("a.ics", event("a", at(9), at(10)))
    world.mirror_put("s.ics", event("s", at(9.5), at(11), "RRULE:FREQ=HOURLY;COUNT=4"))
    answer = world.device.post(f"{world.home}outbox", question(ANNA))
    report = world.device.freebusy(world.home, at(0), at(24))
    assert periods(Text(told(answer)[ANNA][1])) == periods(report)


@pytest.mark.rule("R22")
def test_people_are_found_by_the_addresses_of_their_icloud_accounts(world):
    """A client asks with what ``calendar-user-address-set`` told it."""
    world.change(tables.connections, addresses='["anna.alias@icloud.example", "urn:uuid:1"]')
    world.mirror_put("a.ics", event("a", at(9), at(10)))
    alias = "mailto:Anna.Alias@icloud.example"
    outbox = f"{world.home}outbox/"
    own = told(world.device.post(outbox, question(alias, ANNA, organizer=alias)))
    assert [status for status, _calendar in own.values()] == ["2.0;Success"] * 2
    assert periods(Text(own[alias][1])) == [("BUSY", f"{at(9)}/{at(10)}")]
    colleague = add_person(world, "bob@example.org")
    asked = told(ask_as(world, colleague, question(alias, organizer="mailto:bob@example.org")))
    assert asked[alias][0] == "2.0;Success"
    stranger = add_person(world, "eve@example.net", elsewhere=True)
    asked = told(ask_as(world, stranger, question(alias, organizer="mailto:eve@example.net")))
    assert asked == {alias: ("3.7;Invalid calendar user", "")}


INVITATION = event("i", at(9), at(10), f"ORGANIZER:{ANNA}", "ATTENDEE:mailto:bob@example.org")


@pytest.mark.rule("R19")
@pytest.mark.parametrize(
    ("body", "condition"),
    [
        (INVITATION.replace(b"VERSION", b"METHOD:REQUEST\r\nVERSION"), "valid-scheduling-message"),
        (INVITATION, "valid-scheduling-message"),
        (question(ANNA).replace(b"METHOD:REQUEST", b"METHOD:CANCEL"), "valid-scheduling-message"),
        (question(), "valid-scheduling-message"),
        (question(*[f"mailto:{n}@x" for n in range(101)]), "valid-scheduling-message"),
        (question(ANNA, end=at(0)), "valid-scheduling-message"),
        (question(ANNA, end=at(0, day=400)), "valid-scheduling-message"),
        (question(ANNA, start="20260101T000000"), "valid-scheduling-message"),
        (question(ANNA, organizer="mailto:bob@example.org"), "valid-organizer"),
        (question(ANNA).replace(b"ORGANIZER", b"X-NOBODY"), "valid-organizer"),
        (b"", "valid-calendar-data"),
        (b"hello", "valid-calendar-data"),
    ],
)
def test_anything_but_a_question_is_403(world, body, condition):
    add_person(world, "bob@example.org")
    answer = world.device.post(f"{world.home}outbox/", body)
    assert (answer.status, answer.conditions) == (403, [f"{C}{condition}"])
    assert len(answer.xml.findtext(TEXT)) > 10
    assert (world.messages(), world.ledger()) == ([], [])


@pytest.mark.rule("R18", "R19")
def test_the_outbox_is_found_at_the_principal_and_holds_nothing(world):
    outbox = f"{world.home}outbox/"
    props = world.device.propfind(world.home, "c:schedule-outbox-URL").props(world.home)
    assert props[f"{C}schedule-outbox-URL"].findtext(f"{D}href") == outbox
    shown = world.device.propfind(outbox, "d:resourcetype", "d:current-user-privilege-set")
    found = shown.props(outbox)
    kinds = [node.tag for node in found[f"{D}resourcetype"]]
    assert kinds == [f"{D}collection", f"{C}schedule-outbox"]
    may = [node[0].tag for node in found[f"{D}current-user-privilege-set"]]
    assert f"{C}schedule-send-freebusy" in may
    assert f"{D}write-content" not in may
    listed = world.device.propfind(world.home, "d:resourcetype", depth="1").hrefs
    assert outbox not in listed
    assert "auto-schedule" not in world.device.options(world.home).headers["DAV"]
    body = event("a", at(9), at(10))
    assert world.device.put(f"{outbox}a.ics", body).status == 409
    assert world.device.delete(outbox).status == 404
    for reserved in (outbox, f"{world.home}inbox/"):
        assert world.device.mkcalendar(reserved).status == 403
    patched = "<d:set><d:prop><d:displayname>x</d:displayname></d:prop></d:set>"
    assert set(world.device.proppatch(outbox, patched).statuses(outbox).values()) == {403}
    query = wrap("c:calendar-query", "<d:prop><d:getetag/></d:prop>")
    assert world.device.report(outbox, query).conditions == [f"{D}supported-report"]


def test_an_address_that_cannot_be_one_is_an_invalid_user(world):
    answer = world.device.post(f"{world.home}outbox/", question("/a%00b/"))
    assert answer.status == 200
    statuses = [node.text for node in answer.xml.iter(f"{C}request-status")]
    assert statuses == ["3.7;Invalid calendar user"]


def test_nothing_is_posted_anywhere_else(world):
    for path in ("/", world.home, world.platform_path, world.mirror_path):
        answer = world.device.post(path, question(ANNA))
        assert (path, answer.status) == (path, 405)
    other = add_person(world, "bob@example.org")
    assert world.device.post(f"/{other}/outbox/", question(ANNA)).status == 404


@pytest.mark.rule("R19")
def test_guests_of_a_client_are_kept_and_never_mailed(world):
    """The body comes back as it was; what goes upstream is built without them (R15)."""
    path, body = f"{world.platform_path}g.ics", INVITATION.replace(b"UID:i", b"UID:g")
    assert world.platform.put(path, body).status == 201
    answer = world.device.get(path)
    assert answer.body == body
    assert "Schedule-Tag" not in answer.headers
