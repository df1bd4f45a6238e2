"""Reports: time ranges, filters, sync-collection, multiget, and the same answers as Radicale."""

import re

import pytest
import radicale.config
from radicale.app import Application

from gateway.store import tables
from gateway.store.objects.collections import get_collection
from storage_plugin.http.middleware import Middleware
from tests.storage_plugin.conftest import at
from tests.storage_plugin.dav import C, D, Dav, event, wrap

STOCK = "/anna/own/"
DATE = b"DTSTART;VALUE=DATE:"


@pytest.fixture
def stock(tmp_path) -> Dav:
    """Radicale as it comes, on a storage of its own, with a calendar in it."""
    configuration = radicale.config.load([])
    settings = {
        "auth": {"type": "none"},
        "storage": {"filesystem_folder": str(tmp_path / "stock")},
        "reporting": {"max_expand_occurrence": 0},
    }
    configuration.update(settings, "test", privileged=True)
    application = Middleware(Application(configuration), max_body=10**7, trusted_proxies=())
    dav = Dav(application, "anna", "x")
    assert dav.mkcalendar(STOCK, "<d:displayname>Own</d:displayname>").status == 201
    return dav


def fill(world) -> None:
    world.mirror_put("a.ics", event("a", at(9), at(10), summary="Alpha & <one>"))
    world.mirror_put("b.ics", event("b", at(11), at(12), "RRULE:FREQ=WEEKLY", summary="Béta"))
    world.mirror_put("c.ics", event("c", at(0)[:8], "", "X-NOTE:none"))
    world.mirror_put("old.ics", event("old", "20190301T100000Z", "20190301T110000Z"))


def names(answer) -> list[str]:
    return [href.rpartition("/")[2] for href in answer.hrefs]


def span(start: str = "", end: str = "") -> str:
    parts = (f' start="{start}"' if start else "") + (f' end="{end}"' if end else "")
    return f"<c:time-range{parts}/>"


# --- the same as Radicale's ---


def normal(answer, base: str) -> object:
    """What is said of each name below ``base``: statuses, and which object the data is of."""
    found = {}
    for response in answer.xml.iter(f"{D}response"):
        stats = {}
        for stat in response.iter(f"{D}propstat"):
            for prop in stat.find(f"{D}prop"):
                uid = re.search("UID:.*", prop.text or "")
                stats[prop.tag] = (stat.findtext(f"{D}status"), uid and uid[0].strip(), len(prop))
        name = response.findtext(f"{D}href").removeprefix(base)
        found[name] = stats or response.findtext(f"{D}status")
    return found


BODIES = {
    "a.ics": event("a", at(9), at(10), summary="Alpha & <one>"),
    "b.ics": event("b", at(11), at(12), "RRULE:FREQ=WEEKLY", summary="Béta"),
    "c.ics": event("c", f"{at(0)[:8]}", "", "X-NOTE:none").replace(b"DTSTART:", DATE),
    "old.ics": event("old", "20190301T100000Z", "20190301T110000Z"),
}


def test_listings_say_what_radicale_says_of_the_same_objects(world, stock):
    own = f"{world.home}own/"
    assert world.device.mkcalendar(own, "<d:displayname>Own</d:displayname>").status == 201
    sides = [(world.device, own), (stock, STOCK)]
    tokens, first = [], []
    for dav, here in sides:
        for name, body in BODIES.items():
            assert dav.put(f"{here}{name}", body).status == 201
        answer = dav.sync(here)
        tokens.append(answer.xml.findtext(f"{D}sync-token"))
        first.append((answer.status, normal(answer, here)))
        assert dav.put(f"{here}d.ics", event("d", at(9), at(10))).status == 201
        assert dav.delete(f"{here}a.ics").status in (200, 204)
    assert first[0] == first[1]
    names = ("a", "b", "c", "nowhere")
    questions = {
        "etags": lambda dav, here, _: dav.propfind(here, "d:getetag", depth="1"),
        "unknown": lambda dav, here, _: dav.propfind(here, "d:getetag", "d:x", depth="1"),
        "calendar": lambda dav, here, _: dav.propfind(here, "cs:getctag", "d:displayname"),
        "sync": lambda dav, here, token: dav.sync(here, token),
        "multiget": lambda dav, here, _: dav.multiget(here, *(f"{here}{n}.ics" for n in names)),
        "query": lambda dav, here, _: dav.query(here, span(at(8), at(13))),
        "next week": lambda dav, here, _: dav.query(here, span(at(8, day=7), at(13, day=7))),
        "long ago": lambda dav, here, _: dav.query(here, span("", "20200101T000000Z")),
        "all": lambda dav, here, _: dav.query(here, ""),
    }
    for name, question in questions.items():
        ours, theirs = (
            (answer.status, normal(answer, here))
            for (dav, here), token in zip(sides, tokens, strict=True)
            for answer in [question(dav, here, token)]
        )
        assert (name, ours) == (name, theirs)


# --- time ranges ---


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (at(9), at(10), ["a.ics", "c.ics"]),
        (at(10), at(11), ["c.ics"]),
        (at(11.5), at(11.6), ["b.ics", "c.ics"]),
        (at(11, day=7), at(12, day=7), ["b.ics"]),
        (at(30), at(31), []),
        ("", "20200101T000000Z", ["old.ics"]),
        ("20190301T103000Z", "20190301T104000Z", ["old.ics"]),
        ("20190301T110000Z", "20190301T120000Z", []),
        (at(0), "", ["a.ics", "b.ics", "c.ics"]),
        ("20190101T000000Z", "", ["a.ics", "b.ics", "c.ics", "old.ics"]),
        ("", "", ["a.ics", "b.ics", "c.ics", "old.ics"]),
    ],
)
def test_time_ranges_are_exact_in_and_outside_the_stored_window(world, start, end, expected):
    fill(world)
    answer = world.device.query(world.mirror_path, span(start, end) if start or end else "")
    assert names(answer) == expected


def test_a_series_is_found_years_ahead_and_not_where_it_is_not(world):
    world.mirror_put("s.ics", event("s", at(9), at(10), "RRULE:FREQ=WEEKLY"))
    world.mirror_put("e.ics", event("e", at(9), at(10), "RRULE:FREQ=WEEKLY;COUNT=3"))
    far = 7 * 200
    found = world.device.query(world.mirror_path, span(at(9, day=far), at(10, day=far)))
    assert names(found) == ["s.ics"]
    between = world.device.query(world.mirror_path, span(at(0, day=far + 1), at(0, day=far + 3)))
    assert names(between) == []


@pytest.mark.parametrize(
    "bad",
    [
        '<c:time-range start="tomorrow"/>',
        f'<c:time-range start="{at(9)}" end="{at(8)}"/>',
        '<c:time-range start="20269999T000000Z"/>',
        '<c:time-range start="2026-01-01T00:00:00Z"/>',
    ],
)
def test_bad_ranges_are_named(world, bad):
    answer = world.device.query(world.mirror_path, bad)
    assert (answer.status, answer.conditions) == (403, [f"{C}valid-filter"])


# --- filters ---


def prop(name: str, inner: str = "") -> str:
    return f'<c:prop-filter name="{name}">{inner}</c:prop-filter>'


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (prop("UID", "<c:text-match collation='i;octet'>a</c:text-match>"), ["a.ics"]),
        (prop("SUMMARY", "<c:text-match>ALPHA</c:text-match>"), ["a.ics"]),
        (prop("SUMMARY", "<c:text-match>BÉTA</c:text-match>"), ["b.ics"]),
        (prop("SUMMARY", "<c:text-match collation='i;octet'>ALPHA</c:text-match>"), []),
        (
            prop("SUMMARY", "<c:text-match negate-condition='yes'>a</c:text-match>"),
            ["c.ics", "old.ics"],
        ),
        (prop("X-NOTE"), ["c.ics"]),
        (prop("RRULE", "<c:is-not-defined/>") + span(at(0), at(24)), ["a.ics", "c.ics"]),
        (prop("DTSTART", "<c:param-filter name='TZID'/>"), []),
        (
            prop("DTSTART", "<c:param-filter name='TZID'><c:is-not-defined/></c:param-filter>"),
            ["a.ics", "b.ics", "c.ics", "old.ics"],
        ),
        (prop("DTSTART", span(at(8), at(10))), ["a.ics"]),
        ("<c:comp-filter name='VALARM'/>", []),
        (
            "<c:comp-filter name='VALARM'><c:is-not-defined/></c:comp-filter>",
            ["a.ics", "b.ics", "c.ics", "old.ics"],
        ),
    ],
)
def test_filters(world, inner, expected):
    fill(world)
    assert names(world.device.query(world.mirror_path, inner)) == expected


def test_an_unknown_collation_is_named(world):
    inner = prop("SUMMARY", "<c:text-match collation='i;klingon'>x</c:text-match>")
    answer = world.device.query(world.mirror_path, inner)
    assert (answer.status, answer.conditions) == (403, [f"{C}supported-collation"])


def test_reports_where_none_are(world):
    for path in (world.home, "/"):
        answer = world.device.query(path, "")
        assert (answer.status, answer.conditions) == (403, [f"{D}supported-report"])
    assert world.device.query(f"{world.home}none/", "").status == 404


# --- multiget ---


def test_multiget_answers_every_href_in_order_once(world):
    fill(world)
    here = world.mirror_path
    asked = [f"{here}b.ics", f"{here}no.ics", f"{world.platform_path}a.ics", f"{here}a.ics"]
    answer = world.device.multiget(here, *asked, asked[0], f"http://localhost{asked[3]}")
    assert answer.hrefs == asked
    states = [
        node.findtext(f"{D}status") or node.findtext(f"{D}propstat/{D}status")
        for node in answer.xml.iter(f"{D}response")
    ]
    missing = "HTTP/1.1 404 Not Found"
    assert states == ["HTTP/1.1 200 OK", missing, missing, "HTTP/1.1 200 OK"]


def test_what_xml_cannot_carry_breaks_nobodys_report(world):
    bell = event("bell", at(9), at(10), summary="ring\x07 \x0b \ufffe done")
    assert world.device.put(f"{world.platform_path}bell.ics", bell).status == 201
    world.device.put(f"{world.platform_path}ok.ics", event("ok", at(9), at(10)))
    assert world.device.get(f"{world.platform_path}bell.ics").body == bell
    answer = world.device.query(world.platform_path, "")
    assert names(answer) == ["bell.ics", "ok.ics"]
    text = answer.props(f"{world.platform_path}bell.ics")[f"{C}calendar-data"].text
    assert "SUMMARY:ring   done" in text


# --- sync-collection ---


def token_of(answer) -> str:
    return answer.xml.findtext(f"{D}sync-token")


@pytest.mark.rule("R21")
def test_ctag_etag_and_token_move_with_every_change_and_only_then(world):
    asked = ("cs:getctag", "d:sync-token", "d:getetag")

    def state():
        found = world.device.propfind(world.mirror_path, *asked).props(world.mirror_path)
        return tuple(found[tag].text for tag in found)

    seen = [state()]
    assert state() == seen[0]
    world.mirror_put("a.ics", event("a", at(9), at(10)))
    seen.append(state())
    world.mirror_put("a.ics", event("a", at(9), at(11)))
    seen.append(state())
    world.mirror_delete("a.ics")
    seen.append(state())
    world.device.put(f"{world.platform_path}x.ics", event("x", at(9), at(10)))
    assert state() == seen[-1]
    assert len(set(seen)) == 4


@pytest.mark.rule("R21")
@pytest.mark.parametrize(
    "change", ["garbage", "foreign", "future", "negative", "outdated", "unicode"]
)
def test_unusable_tokens_ask_for_a_fresh_start(world, change):
    token = token_of(world.device.sync(world.mirror_path))
    other = token_of(world.device.sync(world.platform_path))
    if change == "outdated":
        world.mirror_put("a.ics", event("a", at(9), at(10)))
        world.change(tables.collections, valid_from_revision=1)
    bad = {
        "garbage": "abc",
        "foreign": other,
        "future": f"{token}9",
        "negative": token[:-1] + "-1",
        "outdated": token,
        "unicode": token[:-1] + "٣",
    }[change]
    answer = world.device.sync(world.mirror_path, bad)
    assert (answer.status, answer.conditions) == (403, [f"{D}valid-sync-token"])


@pytest.mark.rule("R21")
def test_a_limit_pages_through_every_change_once(world):
    for n in range(7):
        world.mirror_put(f"{n}.ics", event(str(n), at(9), at(10)))
    seen, token = [], ""
    for _ in range(10):
        inner = (
            f"<d:sync-token>{token}</d:sync-token><d:sync-level>1</d:sync-level>"
            "<d:limit><d:nresults>3</d:nresults></d:limit><d:prop><d:getetag/></d:prop>"
        )
        answer = world.device.report(world.mirror_path, wrap("d:sync-collection", inner))
        token = token_of(answer)
        page = names(answer)
        seen += [name for name in page if name]
        if "" not in page:
            break
        assert "507" in answer.text
    assert seen == [f"{n}.ics" for n in range(7)]
    assert names(world.device.sync(world.mirror_path, token)) == []


@pytest.mark.rule("R21")
def test_a_batch_of_one_revision_is_never_cut(world):
    for n in range(4):
        world.mirror_put(f"{n}.ics", event(str(n), at(9), at(10)))
    with world.database.write() as session:
        session.execute(tables.revisions.update().values(revision=4))
        assert get_collection(session, world.mirror_id).revision == 4
    inner = (
        "<d:sync-token/><d:sync-level>1</d:sync-level>"
        "<d:limit><d:nresults>3</d:nresults></d:limit><d:prop><d:getetag/></d:prop>"
    )
    answer = world.device.report(world.mirror_path, wrap("d:sync-collection", inner))
    assert answer.status == 507
    assert answer.conditions == [f"{D}number-of-matches-within-limits"]


# --- expand ---


def expanded(world, name: str, start: str, end: str) -> list[str]:
    data = f'<c:calendar-data><c:expand start="{start}" end="{end}"/></c:calendar-data>'
    answer = world.device.query(world.mirror_path, span(start, end), data=data)
    node = answer.props(f"{world.mirror_path}{name}")[f"{C}calendar-data"]
    keep = ("DTSTART", "DTEND", "RECURRENCE-ID", "SUMMARY", "RRULE", "BEGIN:V", "EXDATE")
    return [line for line in (node.text or "").splitlines() if line.startswith(keep)]


def test_expand_knows_overrides_exceptions_and_zones(world):
    master = event("s", "X", "Y", "RRULE:FREQ=DAILY;COUNT=5", f"EXDATE:{at(9, day=2)}").decode()
    master = master.replace("DTSTART:X", f"DTSTART;TZID=Europe/Berlin:{at(0)[:8]}T100000")
    master = master.replace("DTEND:Y", "DURATION:PT1H")
    master = master.replace(
        f"EXDATE:{at(9, day=2)}", f"EXDATE;TZID=Europe/Berlin:{at(0, day=2)[:8]}T100000"
    )
    moved = (
        f"BEGIN:VEVENT\r\nUID:s\r\nDTSTAMP:20260101T000000Z\r\n"
        f"RECURRENCE-ID;TZID=Europe/Berlin:{at(0, day=1)[:8]}T100000\r\n"
        f"DTSTART:{at(20, day=1)}\r\nDTEND:{at(21, day=1)}\r\nSUMMARY:Moved\r\nEND:VEVENT\r\n"
    )
    body = master.replace("END:VCALENDAR", f"{moved}END:VCALENDAR").encode()
    world.mirror_put("s.ics", body)
    lines = expanded(world, "s.ics", at(0), at(0, day=4))
    starts = [line for line in lines if line.startswith("DTSTART")]
    assert len(starts) == 3
    assert starts[1] == f"DTSTART:{at(20, day=1)}"
    assert "SUMMARY:Moved" in lines
    assert not any(line.startswith(("RRULE", "EXDATE", "BEGIN:VTIMEZONE")) for line in lines)
    ids = [line.partition(":")[2] for line in lines if line.startswith("RECURRENCE-ID")]
    assert [stamp[:8] for stamp in ids] == [at(0)[:8], at(0, day=1)[:8], at(0, day=3)[:8]]


def test_expand_keeps_whole_days_and_single_events(world):
    day, next_day = at(0)[:8], at(0, day=1)[:8]
    body = event(
        "d", "X", "", "RRULE:FREQ=DAILY;COUNT=2", "BEGIN:VALARM", "TRIGGER:-PT5M", "END:VALARM"
    )
    world.mirror_put("d.ics", body.replace(b"DTSTART:X", f"DTSTART;VALUE=DATE:{day}".encode()))
    lines = expanded(world, "d.ics", at(0, day=-1), at(0, day=4))
    assert [line for line in lines if line.startswith("DTSTART")] == [
        f"DTSTART;VALUE=DATE:{day}",
        f"DTSTART;VALUE=DATE:{next_day}",
    ]
    assert lines.count("BEGIN:VALARM") == 2
    world.mirror_put("one.ics", event("one", at(9), at(10)))
    lines = expanded(world, "one.ics", at(0), at(24))
    assert [line for line in lines if line.startswith(("DT", "REC"))] == [
        f"DTSTART:{at(9)}",
        f"DTEND:{at(10)}",
    ]
