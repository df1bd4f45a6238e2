"""What a sync writes: only under the terms it read by, and a generation counted where it must."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.errors import StateConflict, UpstreamForbidden, UpstreamUnreachable
from gateway.services.accounts import connecting, mirrors, polls, roles
from gateway.services.accounts.mirrors import Pulled, Superseded, Terms
from gateway.services.accounts.polls import RunEnd
from gateway.store.access import principals
from gateway.store.accounts import accounts, calendars, leases, runs
from gateway.store.accounts.accounts import Credential, Keyring
from gateway.store.accounts.calendars import UpstreamCalendar
from gateway.store.accounts.members import RETRY_DELAYS_S, Unread
from gateway.store.engine import Database, Session
from gateway.store.objects import collections, objects
from gateway.upstream.discovery import Discovered
from tests.services.people import NOW, Person, make_person


@pytest.fixture
def person(database: Database, keyring: Keyring) -> Person:
    """Somebody whose calendar ``work`` blocks."""
    made = make_person(database, keyring)
    with database.write() as session:
        roles.set_calendar_roles(
            session, made.principal.id, linked=None, conflicts=[made.calendar["work"]], now=NOW
        )
    return made


def work(person: Person) -> UpstreamCalendar:
    """The calendar that blocks."""
    with person.database.read() as session:
        return calendars.get_calendar(session, person.calendar["work"])


def terms(person: Person) -> Terms:
    """The terms of a pull that begins now."""
    with person.database.read() as session:
        mirror = collections.find_mirror(session, person.calendar["work"])
    zone = person.principal.time_zone
    return Terms(person.principal.id, work(person), mirror.id if mirror else None, zone)


def generation(person: Person) -> int:
    """How often the person's busy time changed so far."""
    with person.database.read() as session:
        return objects.get_extent(session, person.principal.id)[0]


def counted(person: Person, act: Callable[[Session], Any]) -> tuple[Any, bool]:
    """Return what an act in a unit returns, and whether it counted a generation."""
    before = generation(person)
    with person.database.write() as session:
        result = act(session)
    return result, generation(person) > before


# --- a pull ---


def _let_go(session: Session, person: Person) -> None:
    roles.set_calendar_roles(session, person.principal.id, linked=None, conflicts=[], now=NOW)


def _keep_less(session: Session, person: Person) -> None:
    roles.set_calendar_options(session, person.principal.id, person.calendar["work"], detail="busy")


def _count_days(session: Session, person: Person) -> None:
    roles.set_calendar_options(
        session, person.principal.id, person.calendar["work"], all_day="ignore"
    )


def _move(session: Session, person: Person) -> None:
    principals.update_principal(session, person.principal.id, {"time_zone": "Asia/Tokyo"})


@pytest.mark.parametrize("change", [_let_go, _keep_less, _count_days, _move])
def test_what_was_read_under_other_terms_is_not_written(
    person: Person, keyring: Keyring, change: Callable[[Session, Person], None]
) -> None:
    before = terms(person)
    with person.database.write() as session:
        change(session, person)
    as_changed = work(person)
    for write in (
        lambda session: mirrors.write_batch(session, keyring, before, [], [], now=NOW),
        lambda session: mirrors.end_pull(
            session, before, [], Pulled(), held_unread=frozenset(), token="t", now=NOW
        ),
    ):
        with person.database.write() as session, pytest.raises(Superseded):
            write(session)
    assert work(person) == as_changed


def end(person: Person, pulled: Pulled) -> tuple[int, UpstreamCalendar]:
    """End a pull of a moment ago."""
    with person.database.write() as session:
        return mirrors.end_pull(
            session, terms(person), [], pulled, held_unread=frozenset(), token="t1", now=NOW
        )


def test_a_pull_that_asked_for_all_keeps_the_token_and_any_other_does_not(person: Person) -> None:
    _, broken = end(person, Pulled(complete=False))
    assert (broken.sync_token, broken.problem, broken.state) == (None, "incomplete-answer", "never")
    _, whole = end(person, Pulled(read={"a.ics"}))
    assert (whole.sync_token, whole.problem, whole.state) == ("t1", None, "ok")


def test_a_first_pull_that_read_less_than_it_could_not_stays_unread(person: Person) -> None:
    bad = {name: Unread("e", True, "not-found") for name in ("a", "b")}
    _, after = end(person, Pulled(read={"c"}, unread=bad))
    assert (after.state, after.sync_token, after.catching_up) == ("never", None, 2)
    _, after = end(person, Pulled(read={"c", "d"}, unread=bad))
    assert (after.state, after.sync_token) == ("ok", "t1")


def test_a_first_sync_is_shown_and_counted_once(person: Person) -> None:
    def start(session: Session) -> None:
        mirrors.note_start(session, person.principal.id, work(person), 7)

    assert counted(person, start)[1]
    assert (work(person).state, work(person).progress_total) == ("syncing", 7)
    assert not counted(person, start)[1]
    end(person, Pulled())
    assert not counted(person, start)[1]
    assert work(person).state == "ok"


def test_a_failure_is_counted_once_and_what_is_known_stands(person: Person) -> None:
    end(person, Pulled())
    known = work(person)

    def fail(session: Session) -> None:
        error = UpstreamForbidden("No.", status=403)
        mirrors.note_pull_failed(session, person.principal.id, known, error)

    assert counted(person, fail)[1]
    after = work(person)
    assert (after.state, after.problem) == ("failed", "upstream-forbidden")
    assert (after.synced_at, after.sync_token) == (known.synced_at, known.sync_token)
    known = after
    assert not counted(person, fail)[1]


# --- a run ---


def lease(person: Person, owner: str = "w") -> None:
    """Hold the account."""
    with person.database.write() as session:
        assert leases.try_lease(
            session, person.connection.id, owner=owner, now=float(NOW), lease_s=60.0
        )


def run_end(person: Person, owner: str = "w", **changes: Any) -> RunEnd:
    """The end of a run that found the account as it is now."""
    with person.database.read() as session:
        connection = accounts.get_connection(session, person.connection.id)
    return RunEnd(connection, owner, {"next_sync_at": float(NOW + 300), **changes})


def test_the_end_of_a_run_counts_only_a_state_that_became_another(person: Person) -> None:
    person.set_connection(state="credential-revoked")
    lease(person)
    well = run_end(person, state="ok")
    assert counted(person, lambda one: polls.end_run(one, well, [], [], now=NOW)) == (True, True)
    lease(person)
    again = run_end(person, state="ok")
    assert counted(person, lambda one: polls.end_run(one, again, [], [], now=NOW)) == (True, False)


def test_who_lost_the_lease_writes_no_end(person: Person) -> None:
    lease(person, "another")
    late = run_end(person, state="credential-revoked")
    assert counted(person, lambda one: polls.end_run(one, late, [], [], now=NOW)) == (False, False)
    assert run_end(person).connection.state == "ok"


def test_a_crash_counts_only_a_state_that_became_another(person: Person) -> None:
    def crash(state: str) -> Callable[[Session], None]:
        def unit(session: Session) -> None:
            found = leases.find_standing(session, person.connection.id)
            assert found is not None
            runs.note_crash(session, found, state=state, problem="run-crashed")

        return unit

    assert not counted(person, crash("ok"))[1]
    assert counted(person, crash("secret-unreadable"))[1]
    assert run_end(person).connection.problem == "run-crashed"


@pytest.mark.parametrize(
    ("retry_at", "due_at"),
    [
        (None, NOW + 300.0),
        (NOW + 100.0, NOW + 100.0),
        (NOW + 900.0, NOW + 300.0),
        (NOW - 50.0, NOW + float(RETRY_DELAYS_S[0])),
    ],
)
def test_an_account_is_due_with_its_next_unread_member(
    retry_at: float | None, due_at: float
) -> None:
    changes: dict[str, object] = {"next_sync_at": NOW + 300.0}
    polls.bring_forward(changes, retry_at, now=float(NOW))
    assert changes["next_sync_at"] == min(due_at, NOW + 300.0)


def test_an_empty_listing_proves_nothing_and_ends_nothing(person: Person) -> None:
    lease(person)
    idle = run_end(person)
    with person.database.write() as session, pytest.raises(UpstreamUnreachable):
        polls.take_listing(session, idle, [], lambda _: False, now=NOW)
    assert work(person).missing_since is None


# --- an account ---


def discovered(number: str) -> Discovered:
    """What discovery finds of an account with this number."""
    paths = (f"/{number}/principal/", f"/{number}/calendars/")
    return Discovered(*paths, number, addresses=("ann@icloud.example",), calendars=())


def test_a_password_of_another_account_is_refused(person: Person, keyring: Keyring) -> None:
    other = Credential("ann@icloud.example", "wxyz-abcd-efgh-ijkl")
    one = (keyring, person.connection.id, other)
    with person.database.write() as session, pytest.raises(StateConflict) as refused:
        connecting.replace_credential(session, *one, discovered("222"))
    assert refused.value.code == "different-account"
    person.set_connection(state="credential-revoked", problem="credential-rejected")
    with person.database.write() as session:
        revived = connecting.replace_credential(session, *one, discovered("111"))
    assert (revived.state, revived.problem) == ("ok", None)


@pytest.mark.parametrize(
    ("state", "after"),
    [
        ("credential-revoked", "ok"),
        ("secret-unreadable", "ok"),
        ("paused", "paused"),
        ("disconnected", "disconnected"),
    ],
)
def test_a_password_that_works_lifts_a_refusal_and_no_pause(
    person: Person, state: str, after: str
) -> None:
    person.set_connection(state=state)
    with person.database.write() as session:
        connecting.note_accepted(session, person.connection.id)
    assert run_end(person).connection.state == after
