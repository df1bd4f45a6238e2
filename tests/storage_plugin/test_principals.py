"""What clients ask about people: their addresses, and whose calendars they may see."""

import json

import pytest

from gateway.store import tables
from tests.storage_plugin.conftest import World
from tests.storage_plugin.dav import C, D, wrap

CS = "{http://calendarserver.org/ns/}"


def expand(world: World, path: str, inner: str, depth: str = "0"):
    return world.device.report(path, wrap("d:expand-property", inner), depth)


def search(world: World, prop: str, text: str, *, test: str = "allof", path: str = "/"):
    inner = "".join(
        f"<d:property-search><d:prop><{prop}/></d:prop><d:match>{match}</d:match>"
        "</d:property-search>"
        for match in text.split("|")
    )
    xml = wrap("d:principal-property-search", f"{inner}<d:prop><d:displayname/></d:prop>")
    xml = xml.replace("<d:principal-property-search", f'<d:principal-property-search test="{test}"')
    return world.device.report(path, xml, "0")


def test_addresses_are_the_given_one_and_those_of_the_account(world):
    """Apple's clients compare them with ORGANIZER to tell what is one's own."""
    known = ["anna@example.org", "anna@icloud.example", "urn:uuid:1", "/1/principal/", "/a@b/"]
    world.change(tables.connections, addresses=json.dumps(known))
    asked = ("c:calendar-user-address-set", "cs:email-address-set", "d:group-membership")

    def ask() -> list[list[str | None]]:
        found = world.device.propfind(world.home, *asked).props(world.home)
        assert list(found) == [
            f"{C}calendar-user-address-set",
            f"{CS}email-address-set",
            f"{D}group-membership",
        ]
        return [[node.text for node in prop] for prop in found.values()]

    account = "anna@icloud.example"
    assert ask() == [
        ["mailto:anna@example.org", f"mailto:{account}", world.home],
        ["anna@example.org", account],
        [],
    ]
    mine = tables.principals.c.id == world.principal_id
    with world.database.write() as session:
        session.execute(tables.principals.update().where(mine).values(email=None))
    world.change(tables.connections, addresses=json.dumps([account]))
    assert ask() == [[f"mailto:{account}", world.home], [account], []]


def test_expand_property_follows_links_to_what_they_name(world):
    """What macOS asks about delegates, and properties of properties (RFC 3253 3.8)."""
    inner = (
        "<d:property name='calendar-proxy-write-for' namespace='http://calendarserver.org/ns/'>"
        "<d:property name='displayname'/></d:property>"
        "<d:property name='group-membership'><d:property name='displayname'/></d:property>"
        "<d:property name='displayname'/>"
        "<d:property name='calendar-home-set' namespace='urn:ietf:params:xml:ns:caldav'>"
        "<d:property name='displayname'/><d:property name='nothing' namespace='urn:x'/>"
        "<d:property name='owner'><d:property name='resourcetype'/></d:property></d:property>"
        "<d:property name='calendar-user-address-set' namespace='urn:ietf:params:xml:ns:caldav'>"
        "<d:property name='principal-URL'/></d:property>"
    )
    answer = expand(world, world.home, inner)
    assert answer.status == 207
    (person,) = answer.xml.findall(f"{D}response")
    assert {
        prop.tag: int(stat.findtext(f"{D}status").split()[1])
        for stat in person.findall(f"{D}propstat")
        for prop in stat.find(f"{D}prop")
    } == {
        f"{D}group-membership": 200,
        f"{D}displayname": 200,
        f"{C}calendar-home-set": 200,
        f"{C}calendar-user-address-set": 200,
        f"{CS}calendar-proxy-write-for": 404,
    }
    found = {prop.tag: prop for prop in person.find(f"{D}propstat/{D}prop")}
    home = found[f"{C}calendar-home-set"].find(f"{D}response")
    assert home.findtext(f"{D}href") == world.home
    statuses = [node.text.split()[1] for node in home.findall(f"{D}propstat/{D}status")]
    assert statuses == ["200", "404"]
    props = home.find(f"{D}propstat/{D}prop")
    assert props.findtext(f"{D}displayname") == "Anna Example"
    owner = props.find(f"{D}owner/{D}response/{D}propstat/{D}prop/{D}resourcetype")
    assert [node.tag for node in owner] == [f"{D}collection", f"{D}principal"]
    mail, person = found[f"{C}calendar-user-address-set"]
    assert (mail.tag, mail.text) == (f"{D}href", "mailto:anna@example.org")
    url = f"{D}propstat/{D}prop/{D}principal-URL/{D}href"
    assert (person.tag, person.findtext(url)) == (f"{D}response", world.home)


def test_an_address_that_is_no_path_stays_as_it_is(world):
    world.change(tables.connections, addresses=json.dumps(["a%ff@icloud.example"]))
    inner = (
        "<d:property name='calendar-user-address-set' namespace='urn:ietf:params:xml:ns:caldav'>"
        "<d:property name='displayname'/></d:property>"
    )
    found = expand(world, world.home, inner)
    assert found.status == 207
    assert "<href>mailto:a%ff@icloud.example</href>" in found.text


def test_a_minimal_expansion_leaves_out_what_is_missing(world):
    inner = (
        "<d:property name='calendar-proxy-read-for' namespace='http://calendarserver.org/ns/'/>"
        "<d:property name='displayname'/>"
    )
    xml = wrap("d:expand-property", inner)
    answer = world.device.request("REPORT", world.home, xml, Depth="0", Prefer="return=minimal")
    assert answer.statuses(world.home) == {f"{D}displayname": 200}


def test_expand_property_goes_one_level_down_when_asked(world):
    answer = expand(world, world.home, "<d:property name='displayname'/>", depth="1")
    assert answer.hrefs == [world.home, world.platform_path, world.mirror_path]


@pytest.mark.parametrize("name", ["", "a b", "a&gt;", "&lt;x&gt;"])
def test_expand_property_takes_names_only(world, name):
    assert expand(world, world.home, f"<d:property name='{name}'/>").status == 400


@pytest.mark.rule("R18")
def test_a_search_finds_nobody_but_oneself(world):
    name, address = "d:displayname", "c:calendar-user-address-set"
    found = search(world, name, "anna ex")
    assert found.hrefs == [world.home]
    assert found.props(world.home)[f"{D}displayname"].text == "Anna Example"
    assert search(world, address, "ANNA@example").hrefs == [world.home]
    assert search(world, name, "ann|exa", path=world.home).hrefs == [world.home]
    assert search(world, name, "ann|ben").hrefs == []
    assert search(world, name, "ann|ben", test="anyof").hrefs == [world.home]
    for prop, text in ((name, "ben"), (address, "href"), ("d:getetag", ""), (name, "ben")):
        assert search(world, prop, text).hrefs == []
    everybody = wrap("d:principal-property-search", "<d:prop/><d:displayname/>")
    answer = world.device.report("/", everybody)
    assert answer.statuses(world.home) == {f"{D}displayname": 200}
    assert answer.hrefs == [world.home]


def test_what_can_be_searched_is_told(world):
    answer = world.device.report("/", wrap("d:principal-search-property-set", ""), "0")
    assert (answer.status, answer.xml.tag) == (200, f"{D}principal-search-property-set")
    names = [node[0].tag for node in answer.xml.iter(f"{D}prop")]
    assert names == [f"{D}displayname", f"{C}calendar-user-address-set"]
