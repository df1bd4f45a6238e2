"""Upstream to store: first sync, changes, deletions with proof, what an idle poll costs."""

import asyncio
import random
import time
from itertools import pairwise

import pytest

from gateway.core.errors import UpstreamUnreachable
from gateway.services.accounts.listing import apply_listing
from gateway.store.accounts import accounts, calendars
from gateway.store.objects import collections, objects
from gateway.sync.pull import calendar as pull
from tests.store.rows import busy_rows
from tests.sync.conftest import Site, event

SYNC = "REPORT sync-collection"
MULTIGET = "REPORT calendar-multiget"


@pytest.mark.rule("R9")
async def test_every_event_of_chosen_calendars_is_mirrored_and_no_other(fresh_site: Site) -> None:
    for number in range(120):
        fresh_site.account.put("home", event(f"h{number}"))
    fresh_site.account.put("work", event("w"))
    fresh_site.account.put("Family", event("f"))
    await fresh_site.connect()
    fresh_site.roles()
    fresh_site.requests()
    report = await fresh_site.sync()
    assert report.ok
    query = "REPORT calendar-query"
    assert fresh_site.requests() == [
        *("PROPFIND", SYNC, query, *[MULTIGET] * 3),
        *(SYNC, MULTIGET),
    ]
    fresh_site.assert_mirror_equals("home")
    fresh_site.assert_mirror_equals("work")
    assert fresh_site.read(collections.find_mirror, fresh_site.calendar("Family").id) is None
    calendar = fresh_site.calendar("home")
    assert (calendar.state, calendar.synced_at) == ("ok", int(fresh_site.clock.time))
    assert (calendar.progress_done, calendar.progress_total) == (120, 120)


async def test_an_idle_poll_is_one_request_and_keeps_the_mirror_fresh(site: Site) -> None:
    site.clock.advance(300)
    report = await site.sync()
    assert report.ok
    assert site.requests() == ["PROPFIND"]
    assert site.calendar("home").synced_at == int(site.clock.time)
    assert site.connection().synced_at == int(site.clock.time)


@pytest.mark.row(13)
@pytest.mark.rule("R9")
async def test_a_change_costs_one_report_and_one_multiget(site: Site) -> None:
    site.account.put("home", event("a"))
    await site.sync()
    assert site.requests() == ["PROPFIND", SYNC, MULTIGET]
    site.account.put("home", event("a", summary="Moved"))
    await site.sync()
    assert site.requests() == ["PROPFIND", SYNC, MULTIGET]
    assert b"Moved" in site.mirrored("home")["a.ics"].body
    site.assert_mirror_equals("home")


@pytest.mark.rule("R9", "R11")
async def test_what_leaves_icloud_leaves_here_and_frees_the_time(site: Site) -> None:
    site.account.put("home", event("a"))
    site.account.put("home", event("b"))
    await site.sync()
    site.account.delete("home", "a.ics")
    site.requests()
    report = await site.sync()
    assert site.requests() == ["PROPFIND", SYNC]
    assert [c.removed for c in report.calendars] == [1]
    assert set(site.mirrored("home")) == {"b.ics"}
    mirror = site.read(collections.find_mirror, site.calendar("home").id)
    assert site.read(objects.changes_since, mirror.id, mirror.revision - 1) == [("a.ics", True)]


@pytest.mark.row(14)
@pytest.mark.parametrize("form", ["bare", "element", "412", "410"])
async def test_an_expired_token_means_a_full_list_without_loss(site: Site, form: str) -> None:
    for number in range(5):
        site.account.put("home", event(f"e{number}"))
    await site.sync()
    if form != "bare":
        site.fault("token-refusal", form=form)
    site.account.calendar("home").contents.drop_tokens()
    site.account.put("home", event("e1", summary="New"))
    site.account.delete("home", "e2.ics")
    site.requests()
    report = await site.sync()
    assert report.ok
    # One refused, one full list, one multiget for what changed and what may be gone.
    assert site.requests() == ["PROPFIND", SYNC, SYNC, MULTIGET]
    site.assert_mirror_equals("home")
    assert [(c.changed, c.removed) for c in report.calendars] == [(1, 1)]


@pytest.mark.row(13)
async def test_a_truncated_answer_is_read_to_its_end(site: Site) -> None:
    site.fault("sync-truncated", limit=7)
    for number in range(30):
        site.account.put("home", event(f"e{number}"))
    report = await site.sync()
    assert report.ok
    site.assert_mirror_equals("home")


@pytest.mark.row(30)
@pytest.mark.rule("R11")
@pytest.mark.parametrize("skip", [0, 1, 2], ids=["sync", "full list", "multiget"])
@pytest.mark.parametrize("tokens", ["good", "expired"])
async def test_an_empty_207_deletes_nothing(site: Site, skip: int, tokens: str) -> None:
    for number in range(3):
        site.account.put("home", event(f"e{number}"))
    await site.sync()
    before = set(site.mirrored("home"))
    if tokens == "expired":
        site.account.calendar("home").contents.drop_tokens()
    site.account.put("home", event("new"))
    site.fault("empty-multistatus", calendar="home", method="REPORT", skip=skip)
    await site.sync()
    assert set(site.mirrored("home")) >= before
    assert site.calendar("home").state != "gone"
    site.server.world.faults.clear("empty-multistatus")
    site.clock.advance(60)
    assert (await site.sync()).ok
    site.assert_mirror_equals("home")


@pytest.mark.rule("R11", "R12")
async def test_an_empty_list_of_etags_deletes_nothing(site: Site) -> None:
    """What the daily comparison misses is asked for by name before it is believed gone."""
    for number in range(3):
        site.account.put("home", event(f"e{number}"))
    await site.sync()
    before = set(site.mirrored("home"))
    site.clock.advance(86_400)
    site.fault("empty-multistatus", calendar="home", method="PROPFIND")
    await site.sync()
    assert set(site.mirrored("home")) == before
    site.server.world.faults.clear("empty-multistatus")
    site.clock.advance(60)
    assert (await site.sync()).ok
    site.assert_mirror_equals("home")


@pytest.mark.row(16)
async def test_what_multiget_leaves_out_is_asked_for_again(site: Site) -> None:
    site.fault("multiget-fewer", keep=3)
    for number in range(12):
        site.account.put("home", event(f"e{number}"))
    assert (await site.sync()).ok
    site.assert_mirror_equals("home")


@pytest.mark.rule("R11")
async def test_an_empty_listing_of_the_home_changes_nothing(site: Site) -> None:
    known = site.read(calendars.list_calendars, site.connection_id)
    with pytest.raises(UpstreamUnreachable), site.database.write() as session:
        apply_listing(session, site.connection_id, (), now=int(site.clock.time))
    assert site.read(calendars.list_calendars, site.connection_id) == known


@pytest.mark.row(15)
@pytest.mark.rule("R11")
@pytest.mark.parametrize("kind", ["new", "changed"])
async def test_reads_that_lag_behind_the_listing_are_repeated(site: Site, kind: str) -> None:
    if kind == "changed":
        site.account.put("home", event("a"))
        site.clock.advance(60)
        await site.sync()
    site.fault("lag", after=5)
    site.account.put("home", event("a", summary="Late"))
    report = await site.sync()
    assert not report.ok
    assert set(site.mirrored("home")) == ({"a.ics"} if kind == "changed" else set())
    site.clock.advance(6)
    assert (await site.sync()).ok
    assert b"Late" in site.mirrored("home")["a.ics"].body
    site.assert_mirror_equals("home")


@pytest.mark.row(12)
@pytest.mark.parametrize("fault", ["calendar-error", "cut-body", "status", "reset"])
async def test_one_failing_calendar_leaves_the_others_alone(site: Site, fault: str) -> None:
    site.account.put("home", event("a"))
    site.account.put("work", event("b"))
    await site.sync()
    site.account.put("home", event("a2"))
    site.account.put("work", event("b2"))
    site.fault(fault, calendar="home", method="REPORT")
    report = await site.sync()
    assert not report.ok
    assert set(site.mirrored("home")) == {"a.ics"}
    assert site.connection().state == "ok"
    site.server.world.faults.clear(fault)
    site.clock.advance(1000)
    assert (await site.sync()).ok
    site.assert_mirror_equals("home")
    site.assert_mirror_equals("work")
    assert site.calendar("home").problem is None


@pytest.mark.rule("R10", "R25")
@pytest.mark.parametrize(
    ("start", "covered"),
    [("20260922Tgibberish", {"UNKNOWN"}), ("gibberish", set())],
    ids=["a day: unknown there", "no time: nowhere"],
)
async def test_what_cannot_be_understood_is_kept_encrypted_told_and_unknown_where_it_may_be(
    site: Site, keyring: accounts.Keyring, start: str, covered: set[str]
) -> None:
    lines = ("BEGIN:VCALENDAR", "BEGIN:VEVENT", "UID:broken", f"DTSTART:{start}", "SUMMARY:Secret")
    site.account.put("home", "\r\n".join(lines).encode(), "broken.ics")
    site.account.put("home", event("fine"))
    report = await site.sync()
    assert report.ok
    kept = site.mirrored("home")["broken.ics"]
    assert (kept.served, kept.body) == (False, b"")
    assert kept.problem is not None
    assert site.mirrored("home")["fine.ics"].served
    raw = site.read(accounts.load_secret, keyring, f"{kept.collection_id}/{kept.name}", "raw")
    assert b"Secret" in raw
    window = (int(site.clock.time), int(site.clock.time) + 86_400)
    rows = site.read(busy_rows, site.principal_id, window, [kept.collection_id])
    assert {str(row[2]) for row in rows} == covered
    (reported,) = site.read(objects.list_problems, site.principal_id)
    assert (reported.id, reported.problem) == (kept.id, kept.problem)
    site.account.put("home", event("broken"), "broken.ics")
    await site.sync()
    assert site.mirrored("home")["broken.ics"].served
    with pytest.raises(Exception, match="no stored secret"):
        site.read(accounts.load_secret, keyring, f"{kept.collection_id}/{kept.name}", "raw")


@pytest.mark.rule("R10")
async def test_other_people_and_alarms_are_not_stored(site: Site) -> None:
    site.account.put(
        "home",
        event(
            "invited",
            "20261001T090000",
            "20261001T100000",
            "ORGANIZER;CN=Boss:mailto:boss@example.com",
            "ATTENDEE;PARTSTAT=TENTATIVE:mailto:robin@icloud.com",
            "ATTENDEE;PARTSTAT=ACCEPTED:mailto:other@example.com",
            "BEGIN:VALARM",
            "ACTION:DISPLAY",
            "TRIGGER:-PT15M",
            "END:VALARM",
        ),
    )
    await site.sync()
    body = site.mirrored("home")["invited.ics"].body
    assert b"boss@example.com" not in body
    assert b"other@example.com" not in body
    assert b"VALARM" not in body
    assert b"PARTSTAT=TENTATIVE" in body


async def test_odd_names_are_mirrored_under_harmless_ones(site: Site) -> None:
    for name in ("a@b.ics", "ümläut & space.ics", "no-suffix", "..ics", "x" * 200 + ".ics"):
        site.account.put("home", event(f"uid-{len(name)}-{name[0]}"), name)
    site.fault("escaped-at")
    assert (await site.sync()).ok
    site.assert_mirror_equals("home")
    here = {item.upstream_name: item.name for item in site.mirrored("home").values()}
    assert here["a@b.ics"] == "a@b.ics"
    assert all(name.endswith(".ics") and name.isascii() for name in here.values())


@pytest.mark.rule("R11")
async def test_a_vanished_calendar_is_gone_after_ten_minutes_and_two_listings(site: Site) -> None:
    site.account.put("work", event("w"))
    await site.sync()
    site.account.drop_calendar("work")
    await site.sync()
    assert set(site.mirrored("work")) == {"w.ics"}
    site.clock.advance(599)
    await site.sync()
    assert set(site.mirrored("work")) == {"w.ics"}
    site.clock.advance(1)
    await site.sync()
    assert site.calendar("Work").state == "gone"
    assert site.mirrored("Work") == {}
    site.requests()
    await site.sync()
    assert site.requests() == ["PROPFIND"]


@pytest.mark.rule("R5")
async def test_new_and_renamed_calendars_appear_with_the_next_poll(site: Site) -> None:
    added = site.account.add_calendar("Choir")
    site.account.calendar("work").name = "Office"
    await site.sync()
    assert site.calendar(added.id).name == "Choir"
    assert site.calendar("work").name == "Office"


@pytest.mark.rule("R12")
async def test_once_a_day_all_etags_are_compared_and_differences_repaired(site: Site) -> None:
    for number in range(4):
        site.account.put("home", event(f"e{number}"))
    await site.sync()
    with site.database.write() as session:
        mirror = collections.find_mirror(session, site.calendar("home").id)
        objects.delete_objects(session, mirror, ["e1.ics"], now=1)
    site.clock.advance(3600)
    await site.sync()
    assert "e1.ics" not in site.mirrored("home")
    site.clock.advance(86_400)
    site.requests()
    report = await site.sync()
    assert site.requests() == ["PROPFIND", "PROPFIND", SYNC, MULTIGET, "PROPFIND", SYNC]
    assert sum(c.repaired for c in report.calendars) == 1
    site.assert_mirror_equals("home")
    site.clock.advance(3600)
    await site.sync()
    assert site.requests() == ["PROPFIND"]


async def test_random_edits_on_the_phone_end_in_equality(site: Site) -> None:
    chance = random.Random(20261001)
    phone = site.account
    for _ in range(12):
        for _ in range(chance.randrange(1, 12)):
            calendar = chance.choice(["home", "work"])
            names = sorted(site.upstream_names(calendar))
            act = chance.choice(["put", "put", "edit", "delete", "move"])
            if act == "put" or not names:
                day = chance.randrange(1, 28)
                phone.put(calendar, event(f"r{chance.random()}", f"202610{day:02}T090000"))
            elif act == "edit":
                name = chance.choice(names)
                phone.put(calendar, event(name[:-4], summary=str(chance.random())), name)
            elif act == "delete":
                phone.delete(calendar, chance.choice(names))
            else:
                phone.move(calendar, chance.choice(names), "work" if calendar == "home" else "home")
        if chance.random() < 0.2:
            phone.calendar("home").contents.drop_tokens()
        site.clock.advance(60)
        assert (await site.sync()).ok
        site.assert_mirror_equals("home")
        site.assert_mirror_equals("work")


@pytest.mark.rule("R18")
async def test_a_mirror_follows_the_name_and_colour_of_its_calendar(site: Site) -> None:
    site.account.calendar("work").name = "Office"
    site.account.calendar("work").color = "#112233FF"
    await site.sync()
    mirror = site.read(collections.find_mirror, site.calendar("work").id)
    assert (mirror.display_name, dict(mirror.properties)) == (
        "Office",
        {"{http://apple.com/ns/ical/}calendar-color": "#112233"},
    )


@pytest.mark.rule("R7")
async def test_a_role_changed_while_it_is_pulled_ends_in_the_new_role(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        site.account.put("home", event(f"h{number}"))
        site.account.put("Family", event(f"f{number}"))
    original = pull.make_plan

    async def change_meanwhile(*args, **kwargs):
        plan = await original(*args, **kwargs)
        monkeypatch.setattr(pull, "make_plan", original)
        site.roles(linked="work", conflicts=("Family",))
        site.roles(linked="home", conflicts=("Family",))
        return plan

    monkeypatch.setattr(pull, "make_plan", change_meanwhile)
    await site.sync()
    assert site.connection().next_sync_at == 0
    await site.sync()
    site.assert_mirror_equals("home")
    site.assert_mirror_equals("Family")
    assert site.read(collections.find_mirror, site.calendar("work").id) is None
    assert site.connection().next_sync_at > site.clock.time


@pytest.mark.rule("R11")
async def test_an_object_too_large_for_xml_does_not_hide_its_neighbours(site: Site) -> None:
    huge = event("huge", "20261001T090000", "20261001T100000", "X-BIG:" + "x" * 11_000_000)
    site.account.put("home", huge)
    for number in range(4):
        site.account.put("home", event(f"e{number}"))
    assert (await site.sync()).ok
    site.assert_mirror_equals("home")


async def test_a_rule_bomb_does_not_hold_up_the_loop(site: Site) -> None:
    bomb = "RRULE:FREQ=SECONDLY;BYHOUR=25"
    for number in range(3):
        site.account.put("work", event(f"b{number}", "19700101T000000", "19700101T000001", bomb))
    site.account.put("home", event("fine"))
    ticks = []

    async def beat() -> None:
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.01)

    heart = asyncio.create_task(beat())
    await site.sync()
    heart.cancel()
    gaps = [later - earlier for earlier, later in pairwise(ticks)]
    assert max(gaps) < 1
    assert set(site.mirrored("home")) == {"fine.ics"}
    assert len(site.mirrored("work")) == 3
