"""Outbox to upstream: only appointments, exactly once, whatever breaks (R13-R16)."""

import ast
from pathlib import Path

import pytest

from gateway.core.ical.objects import peek_uid
from gateway.store.objects import collections, objects
from gateway.store.outbox import outbox
from gateway.sync.push import outgoing as push
from gateway.sync.scheduler import Worker
from tests.sync.conftest import Site, event

PUSHED = ["PUT", "GET"]


def writes(site: Site) -> list[tuple[str, str | None, int]]:
    return [
        (entry.method, entry.calendar, entry.status)
        for entry in site.log()
        if entry.method not in ("PROPFIND", "REPORT", "GET", "OPTIONS")
    ]


@pytest.mark.rule("R13", "R15", "R16")
async def test_an_appointment_arrives_once_in_the_linked_calendar_and_nowhere_else(
    site: Site,
) -> None:
    site.book()
    report = await site.sync()
    assert report.pushed == 1
    assert site.requests() == [*PUSHED, "PROPFIND", "REPORT sync-collection"]
    assert writes(site) == [("PUT", "home", 201)]
    (row,) = site.ledger()
    assert site.upstream_names("home") == {row.upstream_name}
    stored = site.account.calendar("home").resources[row.upstream_name]
    assert (row.state, row.upstream_etag) == ("pushed", stored.etag)
    assert row.upstream_name == f"{row.upstream_uid}.ics"
    assert stored.uid == row.upstream_uid != "local-1"
    assert b"ATTENDEE" not in stored.data
    assert site.messages() == []
    assert site.mirrored("home") == {}
    assert (await site.sync()).ok
    assert site.requests() == ["PROPFIND"]


@pytest.mark.rule("R16")
async def test_an_update_names_the_version_it_replaces(site: Site) -> None:
    site.book()
    await site.sync()
    site.book(body=event("local-1", "20261002T090000", "20261002T100000"))
    await site.sync()
    assert [w[2] for w in writes(site)] == [201, 204]
    last = site.log(method="PUT")[-1]
    assert last.if_match not in (None, "*")
    (row,) = site.ledger()
    data = site.account.get("home", row.upstream_name)
    assert b"20261002T090000Z" in data
    assert b"SEQUENCE:1" in data


async def test_two_edits_in_a_row_make_one_put_and_no_change_none(site: Site) -> None:
    site.book()
    site.book(body=event("local-1", summary="Second thought"))
    await site.sync()
    assert len(site.log(method="PUT")) == 1
    site.book(body=event("local-1", summary="Second thought"))
    await site.sync()
    assert len(site.log(method="PUT")) == 1
    assert site.messages() == []


@pytest.mark.rule("R13")
async def test_a_deletion_goes_up_and_a_second_time_does_no_harm(site: Site) -> None:
    site.book()
    await site.sync()
    site.cancel()
    await site.sync()
    assert site.upstream_names("home") == set()
    assert site.ledger()[0].state == "deleted"
    assert [e.depth for e in site.log(method="DELETE")] == [None]
    assert (await site.sync()).ok
    assert site.messages() == []


@pytest.mark.rule("R13")
async def test_what_is_gone_already_counts_as_deleted(site: Site) -> None:
    site.book()
    await site.sync()
    site.cancel()
    site.account.delete("home", site.ledger()[0].upstream_name)
    await site.sync()
    assert site.ledger()[0].state == "deleted"
    assert site.log(method="DELETE") == []


@pytest.mark.rule("R14")
async def test_objects_without_ledger_row_never_go_up(site: Site) -> None:
    site.book(push=False)
    await site.sync()
    assert writes(site) == []


@pytest.mark.row(29)
@pytest.mark.rule("R16")
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_lost_answer_neither_loses_nor_doubles_a_push(site: Site, when: str) -> None:
    site.book()
    site.fault("reset", method="PUT", when=when, times=1)
    report = await site.sync()
    assert report.pushed == 0
    assert site.messages()[0].in_doubt
    assert site.messages()[0].due_at > site.clock.time
    await site.sync()
    assert len(site.log(method="PUT")) == 1
    site.clock.advance(120)
    site.requests()
    assert (await site.sync()).pushed == 1
    assert site.requests()[:2] == (["GET", "PROPFIND"] if when == "after" else ["GET", "PUT"])
    assert len(site.upstream_names("home")) == 1
    assert site.messages() == []
    assert site.mirrored("home") == {}


@pytest.mark.rule("R16")
@pytest.mark.parametrize("after_step", ["mark_in_doubt", "put"])
async def test_a_crash_between_sending_and_recording_does_not_double(
    site: Site, monkeypatch: pytest.MonkeyPatch, after_step: str
) -> None:
    site.book()

    class Crash(BaseException):
        pass

    async def crash_before(*args, **kwargs):
        raise Crash

    async def crash_after(*args, **kwargs):
        await original(*args, **kwargs)
        raise Crash

    original = push.write_upstream
    crash = crash_after if after_step == "put" else crash_before
    with monkeypatch.context() as patch:
        patch.setattr(push, "write_upstream", crash)
        with pytest.raises(Crash):
            await site.sync()
    site.clock.advance(3600)
    assert (await site.sync()).ok
    assert len(site.upstream_names("home")) == 1
    assert site.ledger()[0].state == "pushed"
    assert site.messages() == []
    assert site.mirrored("home") == {}


@pytest.mark.rule("R16")
@pytest.mark.parametrize("fault", ["status", "throttle", "calendar-error"])
async def test_an_upstream_in_trouble_postpones_and_the_push_survives(
    site: Site, fault: str
) -> None:
    site.book()
    site.fault(fault, method="PUT", times=1)
    await site.sync()
    (message,) = site.messages()
    assert (message.state, message.attempts) == ("pending", 1)
    assert 20 <= message.due_at - site.clock.time <= 3600
    site.clock.advance(3600)
    await site.sync()
    assert len(site.upstream_names("home")) == 1
    assert site.messages() == []


@pytest.mark.row(22)
@pytest.mark.rule("R16")
async def test_a_body_icloud_refuses_is_parked_after_three_attempts(site: Site) -> None:
    site.book()
    site.fault("status", method="PUT", code=404)
    for _ in range(5):
        await site.sync()
        site.clock.advance(4000)
    assert len(site.log(method="PUT")) == 3
    (message,) = site.messages()
    assert (message.state, message.reason) == ("parked", "upstream-refused")
    assert (site.ledger()[0].state, site.ledger()[0].reason) == ("parked", "upstream-refused")
    site.server.world.faults.clear("status")
    with site.database.write() as session:
        outbox.unpark(session, message.id, now=int(site.clock.time))
    await site.sync()
    assert len(site.upstream_names("home")) == 1


@pytest.mark.rule("R11")
async def test_a_push_into_a_vanished_calendar_parks_and_cancels_nothing(site: Site) -> None:
    site.book()
    site.account.drop_calendar("home")
    await site.sync()
    (message,) = site.messages()
    assert (message.state, message.reason) == ("pending", "upstream-not-found")
    site.clock.advance(601)
    await site.sync()
    (message,) = site.messages()
    assert (message.state, message.reason) == ("parked", "linked-calendar-gone")
    assert site.platform_object() is not None
    assert [a.status for a in site.appointments()] == ["confirmed"]


@pytest.mark.rule("R11", "R16")
@pytest.mark.parametrize("change", ["create", "update", "delete"])
async def test_a_host_that_knows_nothing_for_a_while_parks_no_push(site: Site, change: str) -> None:
    if change != "create":
        site.book()
        await site.sync()
    site.fault("status", code=404, seconds=300)
    site.book(body=event("local-1", summary="Changed"))
    if change == "delete":
        site.cancel()
    await site.sync()
    assert {(message.state, message.reason) for message in site.messages()} == {
        ("pending", "upstream-not-found")
    }
    site.clock.advance(301)
    await site.sync()
    assert site.messages() == []
    assert len(site.upstream_names("home")) == (change != "delete")


@pytest.mark.rule("R11")
async def test_pushes_into_a_calendar_that_is_not_known_ask_for_it_once(site: Site) -> None:
    for number in range(3):
        site.book(f"local-{number}")
    site.fault("status", code=404)
    for _ in range(3):
        site.requests()
        site.clock.advance(3000)
        await site.sync()
        assert [what for what in site.requests() if what == "PUT"] == ["PUT"]
    assert len({message.due_at for message in site.messages()}) == 1


@pytest.mark.rule("R11")
async def test_a_pushed_appointment_outlives_its_calendar(site: Site) -> None:
    site.book()
    await site.sync()
    site.account.drop_calendar("home")
    for _ in range(3):
        await site.sync()
        site.clock.advance(400)
    assert site.calendar("Home").state == "gone"
    assert site.platform_object() is not None
    assert [a.status for a in site.appointments()] == ["confirmed"]
    site.book(body=event("local-1", summary="Changed"))
    await site.sync()
    assert site.messages()[0].reason == "linked-calendar-gone"


@pytest.mark.row(20)
async def test_an_etag_that_drifts_costs_one_more_attempt_and_no_change(site: Site) -> None:
    site.book()
    await site.sync()
    (row,) = site.ledger()
    site.account.calendar("home").contents.touch(row.upstream_name, site.clock())
    site.book(body=event("local-1", summary="Ours"))
    await site.sync()
    assert site.messages() == []
    assert b"Ours" in site.account.get("home", row.upstream_name)
    assert site.mirrored("home") == {}


@pytest.mark.row(21)
async def test_a_tombstoned_name_gets_a_new_one(site: Site) -> None:
    site.book()
    (row,) = site.ledger()
    site.account.put("home", event(row.upstream_uid))
    site.account.delete("home", row.upstream_name)
    await site.sync()
    site.clock.advance(120)
    await site.sync()
    (renamed,) = site.ledger()
    assert renamed.state == "pushed"
    assert renamed.upstream_uid != row.upstream_uid
    assert site.upstream_names("home") == {renamed.upstream_name}
    assert len({peek_uid(r.data) for r in site.account.calendar("home").resources.values()}) == 1


@pytest.mark.row(15)
async def test_reads_that_lag_behind_a_put_do_not_loop(site: Site) -> None:
    site.fault("lag", after=20)
    site.book()
    await site.sync()
    assert site.messages() == []
    for _ in range(4):
        site.clock.advance(15)
        await site.sync()
    assert len(site.log(method="PUT")) == 1
    assert site.ledger()[0].state == "pushed"
    assert site.mirrored("home") == {}
    assert [a.status for a in site.appointments()] == ["confirmed"]
    assert site.platform_object() is not None


@pytest.mark.row(24)
@pytest.mark.rule("R15")
async def test_guests_of_a_local_appointment_are_never_mailed(site: Site) -> None:
    guest = "ATTENDEE;CN=Guest:mailto:guest@example.com"
    host = "ORGANIZER:mailto:robin@icloud.com"
    site.book(body=event("local-1", "20261001T090000", "20261001T100000", host, guest))
    await site.sync()
    site.book(body=event("local-1", "20261001T110000", "20261001T120000", host, guest))
    await site.sync()
    site.cancel()
    await site.sync()
    assert site.server.world.mails == []
    assert [w[0] for w in writes(site)] == ["PUT", "PUT", "DELETE"]


@pytest.mark.rule("R4")
async def test_a_revoked_password_keeps_the_push_for_later(site: Site) -> None:
    site.book()
    site.account.revoke()
    report = await site.sync()
    assert report.state == "credential-revoked"
    assert site.messages()[0].state == "pending"
    assert len(site.log(method="PUT")) == 1
    mirror = site.read(collections.find_mirror, site.calendar("home").id)
    assert site.read(objects.list_names, mirror.id) == []


@pytest.mark.row(28)
@pytest.mark.rule("R16")
async def test_many_waiting_pushes_do_not_storm_a_throttled_account(site: Site) -> None:
    for number in range(8):
        site.book(f"a{number}")
    site.fault("throttle", block=10_000, retry_after=5)
    worker = Worker(site.context)
    for _ in range(60):
        await worker.tick()
        await worker.idle()
        site.clock.advance(1)
    assert len(site.requests()) <= 3
    site.server.world.faults.clear("throttle")
    for _ in range(40):
        site.clock.advance(60)
        await worker.tick()
        await worker.idle()
    assert len(site.upstream_names("home")) == 8
    assert site.messages() == []


FOREIGN_CLIENTS = {("demo", "job.py"), ("doctor", "as_client.py")}
"""These write with python-caldav into our own CalDAV face, as a phone does."""


@pytest.mark.rule("R13")
def test_one_function_writes_upstream() -> None:
    """Who calls a client's put or delete, in all of the gateway: the function of R13 alone."""
    callers = set()
    for path in Path(push.__file__).parents[2].rglob("*.py"):
        if "lookalike" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        if path.parts[-2:] in FOREIGN_CLIENTS:
            assert "gateway.upstream" not in text
            continue
        for function in ast.walk(ast.parse(text)):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(function):
                is_write = isinstance(node, ast.Attribute) and node.attr in ("put", "delete")
                if is_write and isinstance(node.value, ast.Name) and node.value.id == "client":
                    callers.add(function.name)
                if is_write and isinstance(node.value, ast.Attribute):
                    owner = node.value.attr
                    assert owner not in ("client", "_dav", "_client"), (path, function.name)
    assert callers == {"write_upstream"}


@pytest.mark.rule("R16", "R17")
async def test_attempts_that_failed_otherwise_do_not_make_an_edit_on_a_phone_a_refusal(
    site: Site,
) -> None:
    site.book()
    await site.sync()
    site.book(body=event("local-1", summary="Platform"))
    for _ in range(3):
        site.fault("throttle", method="PUT", block=60)
        await site.sync()
        site.clock.advance(7200)
    (row,) = site.ledger()
    site.account.put(
        "home", event(row.upstream_uid, "20261001T150000", "20261001T160000"), row.upstream_name
    )
    await site.sync()
    assert site.messages() == []
    there = site.account.get("home", row.upstream_name)
    assert b"SUMMARY:Platform" in there
    assert b"DTSTART:20261001T150000Z" in there
