"""What iCloud does to our own pushed appointments (R17, R3)."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.services.outbox import own_objects as own
from gateway.services.outbox.pushes import drop_push, retry_push
from gateway.store.access.principals import update_principal
from gateway.store.booking import conflicts
from gateway.store.objects import collections
from gateway.store.outbox import outbox
from gateway.store.outbox.overview import Scope
from tests.store.rows import busy_rows
from tests.sync.conftest import Site, event


def at(text: str) -> int:
    return int(datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp())


@pytest.fixture
async def pushed(site: Site) -> Site:
    """A site with one appointment in iCloud, 1 October, 9 to 10 UTC."""
    site.book()
    await site.sync()
    site.clock.advance(60)
    site.requests()
    return site


def name_of(site: Site) -> str:
    return site.ledger()[0].upstream_name


def conflicts_of(site: Site) -> list[conflicts.ConflictRecord]:
    return site.read(conflicts.list_conflicts, site.principal_id)


def busy_spans(site: Site) -> list[tuple[int, int]]:
    platform = site.read(collections.find_collection, site.principal_id, "platform")
    window = (at("20260901T000000"), at("20270101T000000"))
    rows = site.read(busy_rows, site.principal_id, window, [platform.id])
    return [(start, end) for start, end, _, _ in rows]


@pytest.mark.rule("R17")
async def test_a_new_time_in_icloud_is_taken_and_blocks(pushed: Site) -> None:
    pushed.account.put(
        "home",
        event(
            pushed.ledger()[0].upstream_uid,
            "20261001T130000",
            "20261001T143000",
        ),
        name_of(pushed),
    )
    await pushed.sync()
    body = pushed.platform_object().body
    assert b"DTSTART:20261001T130000Z" in body
    assert b"SUMMARY:Dentist" in body
    assert busy_spans(pushed) == [(at("20261001T130000"), at("20261001T143000"))]
    (appointment,) = pushed.appointments()
    assert (appointment.start, appointment.end) == (at("20261001T130000"), at("20261001T143000"))
    assert pushed.mirrored("home") == {}
    pushed.requests()
    await pushed.sync()
    assert pushed.requests() == ["PROPFIND"]


@pytest.mark.rule("R17")
async def test_an_appointment_blocks_even_if_the_phone_says_free(pushed: Site) -> None:
    pushed.account.put(
        "home",
        event(
            pushed.ledger()[0].upstream_uid,
            "20261001T130000",
            "20261001T140000",
            "TRANSP:TRANSPARENT",
        ),
        name_of(pushed),
    )
    await pushed.sync()
    assert busy_spans(pushed) == [(at("20261001T130000"), at("20261001T140000"))]


@pytest.mark.rule("R17")
async def test_deleted_in_icloud_the_appointment_is_cancelled_and_the_time_free(
    pushed: Site,
) -> None:
    pushed.account.delete("home", name_of(pushed))
    await pushed.sync()
    assert pushed.platform_object() is None
    assert busy_spans(pushed) == []
    (appointment,) = pushed.appointments()
    assert (appointment.status, appointment.object_id) == ("cancelled", None)
    assert (pushed.ledger()[0].state, pushed.messages()) == ("deleted", [])


@pytest.mark.rule("R17")
@pytest.mark.parametrize("to", ["work", "Family", "Club fixtures"])
async def test_moved_in_icloud_it_is_followed(pushed: Site, to: str) -> None:
    name = name_of(pushed)
    pushed.account.move("home", name, to)
    await pushed.sync()
    (row,) = pushed.ledger()
    assert row.upstream_calendar_id == pushed.calendar(to).id
    assert (row.state, row.upstream_name) == ("pushed", name)
    assert [a.status for a in pushed.appointments()] == ["confirmed"]
    assert pushed.mirrored("work") == {}
    if to != "Club fixtures":
        pushed.book(body=event("local-1", summary="After the move"))
        await pushed.sync()
        assert b"After the move" in pushed.account.get(to, name)
        assert name not in pushed.upstream_names("home")


@pytest.mark.rule("R17")
async def test_moved_under_another_name_it_is_found_by_uid(pushed: Site) -> None:
    name = name_of(pushed)
    data = pushed.account.get("home", name)
    pushed.account.delete("home", name)
    pushed.account.put("Family", data, "other-name.ics")
    await pushed.sync()
    (row,) = pushed.ledger()
    assert (row.upstream_calendar_id, row.upstream_name) == (
        pushed.calendar("Family").id,
        "other-name.ics",
    )
    assert [a.status for a in pushed.appointments()] == ["confirmed"]


@pytest.mark.rule("R17")
async def test_guests_added_in_icloud_park_every_later_write(pushed: Site) -> None:
    pushed.account.phone.add_guests("home", name_of(pushed), "guest@example.com")
    await pushed.sync()
    (row,) = pushed.ledger()
    assert (row.state, row.reason) == ("parked", "guests-added-upstream")
    pushed.book(body=event("local-1", summary="Ours"))
    await pushed.sync()
    assert [(e.state, e.reason) for e in pushed.messages()] == [("parked", "guests-added-upstream")]
    pushed.cancel()
    await pushed.sync()
    assert [e.status for e in pushed.log(method="PUT")] == [201]
    assert pushed.log(method="DELETE") == []
    assert pushed.server.world.mails == []


@pytest.mark.rule("R17")
async def test_trying_again_uninvites_nobody(pushed: Site) -> None:
    before = pushed.account.get("home", name_of(pushed))
    pushed.account.phone.add_guests("home", name_of(pushed), "guest@example.com")
    await pushed.sync()
    pushed.book(body=event("local-1", summary="Ours"))
    await pushed.sync()

    async def retry() -> None:
        with pushed.database.write() as session:
            retry_push(session, Scope(), pushed.messages()[0].id, now=int(pushed.clock.time))
        await pushed.sync()

    await retry()
    assert pushed.server.world.mails == []
    assert [(e.state, e.reason) for e in pushed.messages()] == [("parked", "guests-added-upstream")]
    pushed.account.put("home", before, name_of(pushed))
    await pushed.sync()
    await retry()
    assert pushed.messages() == []
    assert b"SUMMARY:Ours" in pushed.account.get("home", name_of(pushed))


@pytest.mark.rule("R17")
async def test_guests_added_just_before_a_deletion_are_noticed(pushed: Site) -> None:
    pushed.account.phone.add_guests("home", name_of(pushed), "guest@example.com")
    pushed.cancel()
    await pushed.sync()
    assert pushed.log(method="DELETE") == []
    assert [e.reason for e in pushed.messages()] == ["guests-added-upstream"]
    assert pushed.server.world.mails == []


@pytest.mark.rule("R10", "R17")
async def test_what_may_not_be_deleted_in_icloud_blocks_as_what_it_is_there(pushed: Site) -> None:
    pushed.account.phone.add_guests("home", name_of(pushed), "guest@example.com")
    pushed.cancel()
    await pushed.sync()
    assert list(pushed.mirrored("home")) == [name_of(pushed)]
    mirror = pushed.mirrored("home")[name_of(pushed)].collection_id
    window = (at("20261001T000000"), at("20261002T000000"))
    (row,) = pushed.read(busy_rows, pushed.principal_id, window, [mirror])
    assert row[:2] == (at("20261001T090000"), at("20261001T100000"))
    (message,) = pushed.messages()
    with pushed.database.write() as session:
        drop_push(session, Scope(), message.id, now=int(pushed.clock.time))
    pushed.clock.advance(86_400)
    assert (await pushed.sync()).ok
    assert list(pushed.mirrored("home")) == [name_of(pushed)]


@pytest.mark.rule("R17")
async def test_what_may_be_deleted_after_all_leaves_the_mirror_too(pushed: Site) -> None:
    before = pushed.account.get("home", name_of(pushed))
    pushed.account.phone.add_guests("home", name_of(pushed), "guest@example.com")
    pushed.cancel()
    await pushed.sync()
    pushed.account.put("home", before, name_of(pushed))
    (message,) = pushed.messages()
    with pushed.database.write() as session:
        retry_push(session, Scope(), message.id, now=int(pushed.clock.time))
    await pushed.sync()
    assert pushed.upstream_names("home") == set()
    assert pushed.mirrored("home") == {}
    assert [(row.state, row.reason) for row in pushed.ledger()] == [("deleted", None)]


@pytest.mark.rule("R17")
async def test_changed_on_both_sides_icloud_wins_the_time_the_platform_its_texts(
    pushed: Site,
) -> None:
    uid = pushed.ledger()[0].upstream_uid
    pushed.account.put(
        "home", event(uid, "20261001T150000", "20261001T160000", summary="Phone"), name_of(pushed)
    )
    pushed.book(body=event("local-1", "20261001T110000", "20261001T120000", summary="Platform"))
    await pushed.sync()
    pushed.clock.advance(3600)
    await pushed.sync()
    there = pushed.account.get("home", name_of(pushed))
    here = pushed.platform_object().body
    for body in (there, here):
        assert b"DTSTART:20261001T150000Z" in body
        assert b"SUMMARY:Platform" in body
    assert busy_spans(pushed) == [(at("20261001T150000"), at("20261001T160000"))]
    assert pushed.messages() == []
    lost = {(c.kind, c.dropped): c.dropped_body for c in conflicts_of(pushed)}
    assert set(lost) == {("time", "local"), ("text", "upstream")}
    assert b"DTSTART:20261001T110000Z" in lost["time", "local"]
    assert b"SUMMARY:Phone" in lost["text", "upstream"]


@pytest.mark.rule("R17")
async def test_a_change_of_text_in_icloud_does_not_undo_a_new_time_here(pushed: Site) -> None:
    uid = pushed.ledger()[0].upstream_uid
    pushed.account.put("home", event(uid, summary="Phone"), name_of(pushed))
    pushed.book(body=event("local-1", "20261001T110000", "20261001T120000"))
    await pushed.sync()
    pushed.clock.advance(3600)
    await pushed.sync()
    there = pushed.account.get("home", name_of(pushed))
    assert b"DTSTART:20261001T110000Z" in there
    assert b"SUMMARY:Dentist" in there
    assert busy_spans(pushed) == [(at("20261001T110000"), at("20261001T120000"))]
    assert [(c.kind, c.dropped) for c in conflicts_of(pushed)] == [("text", "upstream")]


@pytest.mark.rule("R17")
async def test_deleted_there_and_changed_here_it_is_cancelled(pushed: Site) -> None:
    pushed.account.delete("home", name_of(pushed))
    pushed.book(body=event("local-1", summary="Ours"))
    await pushed.sync()
    pushed.clock.advance(3600)
    await pushed.sync()
    assert [a.status for a in pushed.appointments()] == ["cancelled"]
    assert pushed.upstream_names("home") == set()
    assert pushed.messages() == []
    assert [(c.kind, c.dropped) for c in conflicts_of(pushed)] == [("deleted-upstream", "local")]


@pytest.mark.rule("R17")
async def test_changed_there_and_deleted_here_it_is_deleted_and_the_loss_is_kept(
    pushed: Site,
) -> None:
    uid = pushed.ledger()[0].upstream_uid
    pushed.account.put("home", event(uid, "20261001T150000", "20261001T160000"), name_of(pushed))
    pushed.cancel()
    await pushed.sync()
    assert pushed.upstream_names("home") == set()
    (conflict,) = conflicts_of(pushed)
    assert (conflict.kind, conflict.dropped) == ("deleted-here", "upstream")
    assert b"DTSTART:20261001T150000Z" in conflict.dropped_body


@pytest.mark.rule("R17")
async def test_texts_changed_in_icloud_are_put_back_and_kept_as_a_conflict(pushed: Site) -> None:
    uid = pushed.ledger()[0].upstream_uid
    pushed.account.put("home", event(uid, summary="Phone"), name_of(pushed))
    for _ in range(3):
        await pushed.sync()
    assert b"SUMMARY:Dentist" in pushed.account.get("home", name_of(pushed))
    assert b"SUMMARY:Dentist" in pushed.platform_object().body
    assert len(pushed.log(method="PUT")) == 2
    (conflict,) = conflicts_of(pushed)
    assert (conflict.kind, conflict.dropped) == ("text", "upstream")
    assert b"SUMMARY:Phone" in conflict.dropped_body


@pytest.mark.rule("R17")
async def test_an_alarm_set_on_the_phone_survives_our_next_change(pushed: Site) -> None:
    uid = pushed.ledger()[0].upstream_uid
    alarm = ["BEGIN:VALARM", "ACTION:DISPLAY", "TRIGGER:-PT15M", "DESCRIPTION:Go", "END:VALARM"]
    body = event(uid, "20261001T090000", "20261001T100000", "X-APPLE-NOTE:kept", *alarm)
    pushed.account.put("home", body, name_of(pushed))
    await pushed.sync()
    assert len(pushed.log(method="PUT")) == 1
    assert conflicts_of(pushed) == []
    pushed.book(body=event("local-1", "20261002T090000", "20261002T100000", summary="Later"))
    await pushed.sync()
    there = pushed.account.get("home", name_of(pushed))
    for kept in (b"SUMMARY:Later", b"DTSTART:20261002T090000Z", b"TRIGGER:-PT15M", b"X-APPLE-NOTE"):
        assert kept in there
    assert b"VALARM" not in pushed.platform_object().body


@pytest.mark.rule("R17")
async def test_a_move_of_time_alone_is_no_conflict(pushed: Site) -> None:
    uid = pushed.ledger()[0].upstream_uid
    pushed.account.put("home", event(uid, "20261001T150000", "20261001T160000"), name_of(pushed))
    await pushed.sync()
    assert conflicts_of(pushed) == []


@pytest.mark.rule("R7", "R17")
async def test_in_a_tracked_calendar_only_our_own_objects_are_followed(pushed: Site) -> None:
    pushed.account.put("home", event("private"))
    pushed.roles(linked="work", conflicts=())
    assert pushed.calendar("home").role == "tracked"
    await pushed.sync()
    assert pushed.read(collections.find_mirror, pushed.calendar("home").id) is None
    pushed.account.put(
        "home",
        event(pushed.ledger()[0].upstream_uid, "20261003T090000", "20261003T100000"),
        name_of(pushed),
    )
    await pushed.sync()
    assert busy_spans(pushed) == [(at("20261003T090000"), at("20261003T100000"))]
    pushed.book(body=event("local-1", "20261003T090000", "20261003T100000", summary="Kept there"))
    await pushed.sync()
    assert b"Kept there" in pushed.account.get("home", name_of(pushed))
    assert pushed.upstream_names("work") == set()
    pushed.account.delete("home", name_of(pushed))
    await pushed.sync()
    assert [a.status for a in pushed.appointments()] == ["cancelled"]
    assert pushed.read(outbox.list_messages, pushed.principal_id) == []


async def test_what_we_deleted_and_somebody_restored_is_an_event_like_any_other(
    pushed: Site,
) -> None:
    name = name_of(pushed)
    data = pushed.account.get("home", name)
    pushed.cancel()
    await pushed.sync()
    pushed.account.put("home", data, name)
    await pushed.sync()
    assert set(pushed.mirrored("home")) == {name}


@pytest.mark.rule("R17")
async def test_a_time_far_ahead_is_listed_as_iclouds(pushed: Site) -> None:
    theirs = event(pushed.ledger()[0].upstream_uid, "20290301T130000", "20290301T140000")
    pushed.account.put("home", theirs, name_of(pushed))
    await pushed.sync()
    (appointment,) = pushed.appointments()
    assert (appointment.start, appointment.end) == (at("20290301T130000"), at("20290301T140000"))


@pytest.mark.rule("R17")
async def test_an_appointment_of_ten_days_keeps_its_end(pushed: Site) -> None:
    span = ("20261005T090000", "20261015T090000")
    theirs = event(pushed.ledger()[0].upstream_uid, *span)
    pushed.account.put("home", theirs, name_of(pushed))
    await pushed.sync()
    (appointment,) = pushed.appointments()
    assert (appointment.start, appointment.end) == (at(span[0]), at(span[1]))


@pytest.mark.rule("R17", "R23")
async def test_an_adopted_time_is_read_in_the_zone_that_holds_when_it_is_written(
    pushed: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = event(pushed.ledger()[0].upstream_uid).replace(
        b"DTSTART:20261001T090000Z\r\nDTEND:20261001T100000Z", b"DTSTART;VALUE=DATE:20261001"
    )
    pushed.account.put("home", theirs, name_of(pushed))
    moves = [{"time_zone": "America/New_York"}]
    decide = own.decide

    def decide_and_move(*args: Any, **kwargs: Any) -> object:
        decision = decide(*args, **kwargs)
        while moves:
            with pushed.database.write() as session:
                update_principal(session, pushed.principal_id, moves.pop())
        return decision

    monkeypatch.setattr(own, "decide", decide_and_move)
    await pushed.sync()
    assert busy_spans(pushed) == [(at("20261001T040000"), at("20261002T040000"))]
