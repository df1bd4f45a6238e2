"""Bodies and answers: what is sent, and what an answer proves."""

import pytest
from lxml import etree

from gateway.core.errors import UpstreamUnreachable
from gateway.upstream.dav_xml import (
    DAV,
    Fetched,
    LongMultistatus,
    fetched_objects,
    listed_members,
    multiget_body,
    parse_multistatus,
    parse_xml,
    propfind_body,
    sync_body,
    sync_changes,
    time_range_body,
)
from gateway.upstream.paths import decode_path, encode_path, path_of

HOME = "/111/calendars/home/"


def multistatus(*responses: str, token: str = "") -> str:
    tail = f"<sync-token>{token}</sync-token>" if token else ""
    return f"<multistatus xmlns='DAV:'>{''.join(responses)}{tail}</multistatus>"


def member(name: str, etag: str = '"e"', status: str = "HTTP/1.1 200 OK") -> str:
    return (
        f"<response xmlns='DAV:'><href>{HOME}{name}</href><propstat><prop>"
        f"<getetag>{etag}</getetag></prop><status>{status}</status></propstat></response>"
    )


def parsed(text: str):
    return parse_multistatus(parse_xml(text.encode()))


def read_through(body: bytes) -> None:
    for _ in LongMultistatus(body).entries:
        pass


@pytest.fixture(params=["whole", "row by row"])
def listing(request: pytest.FixtureRequest):
    """Both ways of reading a listing, which must tell the same."""
    if request.param == "whole":
        return parsed
    return lambda text: LongMultistatus(text.encode())


@pytest.mark.parametrize(
    "body",
    [
        propfind_body(("D:resourcetype", "CS:getctag")),
        sync_body(None),
        sync_body("a<b&c"),
        multiget_body(HOME, ["a b.ics", "ü@x.ics"]),
        time_range_body("20260101T000000Z", "20260201T000000Z"),
    ],
)
def test_every_element_of_a_request_has_a_prefix_and_nothing_stands_before_the_head(body) -> None:
    assert body.startswith(b"<?xml")
    for element in etree.fromstring(body).iter():
        assert element.prefix is not None
        assert element.nsmap.get(None) is None


def test_a_token_is_escaped_and_hrefs_are_encoded() -> None:
    root = etree.fromstring(sync_body("a<b&c"))
    assert root.findtext(f"{DAV}sync-token") == "a<b&c"
    root = etree.fromstring(multiget_body(HOME, ["a b.ics", "ü@x.ics"]))
    assert [h.text for h in root.iterfind(f"{DAV}href")] == [
        f"{HOME}a%20b.ics",
        f"{HOME}%C3%BC@x.ics",
    ]


@pytest.mark.parametrize(
    "path", ["/a/b/", "/111/cal@x/ü ä.ics", "/a/50%.ics", "/a/with%2Fslash.ics", "/q?/x#y"]
)
def test_paths_survive_encoding(path: str) -> None:
    assert decode_path(encode_path(path)) == path


@pytest.mark.rule("R9")
@pytest.mark.parametrize(
    "href",
    [
        "/a/b%2Fc.ics",  # a slash in a name
        "/a/b%252Fc.ics",  # the three characters %2F in a name
        "/a/b%25252Fc.ics",
        "/a/50%2541.ics",
        "/a/b%00c.ics",
        "/a/b%0Ac.ics",
        "/a/caf%E9.ics",  # bytes that are not UTF-8
        "/a/%ED%A0%80.ics",
        "/a/caf%C3%A9.ics",
        "/a/100%25.ics",
    ],
)
def test_what_is_asked_for_is_what_was_listed(href: str) -> None:
    decoded = path_of(href)
    assert encode_path(decoded) == href
    assert decoded.isprintable()
    assert decoded.count("/") == 2


def test_names_that_differ_stay_apart() -> None:
    hrefs = ["b%2Fc", "b%252Fc", "b%25252Fc", "b%2fc", "b%252fc", "%41", "%2541", "%25%34%31"]
    decoded = [decode_path(f"/a/{href}.ics") for href in hrefs]
    assert decoded[0] == decoded[3]
    assert decoded[6] == decoded[7]
    assert len(set(decoded)) == 6


def test_hrefs_in_every_spelling_are_the_same_path() -> None:
    spellings = [
        "/111/calendars/a%40b.ics",
        "/111/calendars/a@b.ics",
        " https://p12-caldav.icloud.com:443/111/calendars/a%40b.ics ",
    ]
    assert {path_of(spelling) for spelling in spellings} == {"/111/calendars/a@b.ics"}


def test_only_2xx_propstats_count_whatever_the_prefix() -> None:
    answer = parsed(
        "<x:multistatus xmlns:x='DAV:' xmlns:c='urn:ietf:params:xml:ns:caldav'><x:response>"
        "<x:href>/111/</x:href>"
        "<x:propstat><x:prop><x:displayname>Yes</x:displayname></x:prop>"
        "<x:status>HTTP/1.1 200 OK</x:status></x:propstat>"
        "<x:propstat><x:prop><x:displayname/><x:getetag/></x:prop>"
        "<x:status>HTTP/1.1 404 Not Found</x:status></x:propstat>"
        "<x:propstat><x:prop><x:sync-token/></x:prop><x:status></x:status></x:propstat>"
        "</x:response></x:multistatus>"
    )
    (entry,) = answer.entries
    assert entry.text(f"{DAV}displayname") == "Yes"
    assert set(entry.properties) == {f"{DAV}displayname"}
    assert entry.status is None


@pytest.mark.rule("R11")
def test_a_sync_answer_leaves_itself_and_doubles_out_and_tells_removals(listing) -> None:
    answer = listing(
        multistatus(
            member("a.ics", '"1"'),
            member("a.ics", '"2"'),
            f"<response><href>{HOME}</href><propstat><prop><getetag>x</getetag></prop>"
            "<status>HTTP/1.1 200 OK</status></propstat></response>",
            f"<response><href>{HOME.rstrip('/')}</href><status>HTTP/1.1 200 OK</status></response>",
            f"<response><href>{HOME}b.ics</href><status>HTTP/1.1 404 Not Found</status></response>",
            f"<response><href>{HOME}c%40d.ics</href><status>HTTP/1.1 410 Gone</status></response>",
            f"<response><href>{HOME}bad.ics</href><status>HTTP/1.1 500 Oops</status></response>",
            token="t2",
        )
    )
    changes = sync_changes(answer, HOME)
    assert changes.changed == {"a.ics": '"2"', "bad.ics": None}  # it is asked for (R9)
    assert changes.removed == {"b.ics", "c@d.ics"}
    assert (changes.token, changes.truncated) == ("t2", False)


@pytest.mark.rule("R11")
def test_listed_and_removed_at_once_is_not_removed(listing) -> None:
    answer = listing(
        multistatus(
            f"<response><href>{HOME}a.ics</href><status>HTTP/1.1 404 Not Found</status></response>",
            member("a.ics"),
            token="t",
        )
    )
    assert sync_changes(answer, HOME).removed == frozenset()


@pytest.mark.parametrize("href", [HOME, HOME.rstrip("/")])
def test_a_507_for_the_collection_means_there_is_more(listing, href: str) -> None:
    row = f"<response><href>{href}</href><status>HTTP/1.1 507 Insufficient</status></response>"
    changes = sync_changes(listing(multistatus(member("a.ics"), row, token="t")), HOME)
    assert changes.truncated
    assert changes.changed == {"a.ics": '"e"'}


def test_a_listing_names_members_only(listing) -> None:
    answer = listing(
        multistatus(
            f"<response><href>{HOME}</href><propstat><prop><getetag>x</getetag></prop>"
            "<status>HTTP/1.1 200 OK</status></propstat></response>",
            f"<response><href>{HOME}sub/</href><propstat><prop><getetag>x</getetag></prop>"
            "<status>HTTP/1.1 200 OK</status></propstat></response>",
            member("a.ics"),
            member("failed.ics", status="HTTP/1.1 500 Oops"),
        )
    )
    assert listed_members(answer, HOME) == {"a.ics": '"e"', "failed.ics": None}


def test_a_multiget_answer_tells_found_gone_and_unanswered_apart() -> None:
    answer = parsed(
        multistatus(
            f'<response><href>{HOME}a%20b.ics</href><propstat><prop><getetag>"1"</getetag>'
            "<calendar-data xmlns='urn:ietf:params:xml:ns:caldav'>"
            "<![CDATA[BEGIN:VCALENDAR\nX:<&>\nEND:VCALENDAR\n]]></calendar-data></prop>"
            "<status>HTTP/1.1 200 OK</status></propstat></response>",
            f"<response><href>{HOME}gone.ics</href>"
            "<status>HTTP/1.1 404 Not Found</status></response>",
            member("listed-without-data.ics"),
        )
    )
    assert fetched_objects(answer) == {
        "a b.ics": Fetched("a b.ics", 200, '"1"', b"BEGIN:VCALENDAR\r\nX:<&>\r\nEND:VCALENDAR\r\n"),
        "gone.ics": Fetched("gone.ics", 404),
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>400 Bad Request</body></html>",
        b"<multistatus xmlns='DAV:'><response>",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><multistatus xmlns='DAV:'>&a;</multistatus>",
        b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><multistatus xmlns='DAV:'/>",
        b"<multistatus>no namespace</multistatus>",
        b"\xff\xfe\x00garbage",
        b"<multistatus xmlns='DAV:'>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</multistatus>",
    ],
    ids=["empty", "html", "cut", "entity", "external", "namespace", "garbage", "deep"],
)
def test_what_is_no_answer_is_an_unreachable_upstream(body: bytes) -> None:
    for read in (lambda: parse_multistatus(parse_xml(body)), lambda: read_through(body)):
        with pytest.raises(UpstreamUnreachable):
            read()


def test_the_token_may_stand_anywhere(listing) -> None:
    """Radicale writes it before the rows, iCloud after them."""
    body = multistatus("<sync-token>t</sync-token>", member("a.ics"), member("b.ics"))
    assert sync_changes(listing(body), HOME).token == "t"


def test_rows_are_forgotten_once_they_were_read() -> None:
    """What is kept of a long listing does not grow with it, whatever lies within a row."""
    rows = LongMultistatus(multistatus(*(member(f"{n}.ics") for n in range(500))).encode()).entries
    seen = [(entry.name, entry.text(f"{DAV}getetag"), entry.properties) for entry in rows]
    assert [name for name, _, _ in seen] == [f"{n}.ics" for n in range(500)]
    assert {etag for _, etag, _ in seen} == {'"e"'}
    assert len(next(iter(seen[0][2].values())).getroottree().getroot()) <= 1


def test_a_page_quoted_in_calendar_data_is_not_a_document_type() -> None:
    data = "<calendar-data xmlns='urn:ietf:params:xml:ns:caldav'><![CDATA[<!DOCTYPE html>]]>"
    answer = parsed(
        multistatus(
            f"<response><href>{HOME}a.ics</href><propstat><prop>{data}</calendar-data></prop>"
            "<status>HTTP/1.1 200 OK</status></propstat></response>"
        )
    )
    assert fetched_objects(answer)["a.ics"].body == b"<!DOCTYPE html>"


@pytest.mark.parametrize("end", [b"\r\n ", b"&#13;\n "])
def test_a_fold_inside_a_character_breaks_no_answer(end):
    text = "<summary>Grüße</summary>".encode()
    cut = text.index("ü".encode()) + 1
    broken = text[:cut] + end + text[cut:]
    assert parse_xml(broken).text == "Grüße"
    row = b'<d:multistatus xmlns:d="DAV:"><d:response><d:href>/' + broken[9:-10] + b"</d:href>"
    row += b"<d:status>HTTP/1.1 404 Not Found</d:status></d:response></d:multistatus>"
    assert [entry.path for entry in LongMultistatus(row).entries] == ["/Grüße"]
