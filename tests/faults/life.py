"""A life: one account that is edited on both sides, broken and killed, and judged at the end."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from gateway.lookalike.server import Lookalike
from gateway.store.access.principals import LoginKind
from gateway.store.accounts import accounts
from gateway.store.booking import conflicts
from gateway.store.engine import Database
from gateway.store.objects import objects
from gateway.store.outbox.outbox import LedgerRow
from tests.faults.edits import History, start_of
from tests.faults.judge import content_differences, differences, write_differences
from tests.faults.person import (
    DAY,
    HOUR,
    Person,
    make_person,
    pass_time,
    stamp,
    timed,
    weekly,
)
from tests.faults.process import Process
from tests.sync.conftest import Clock

FAULTS: list[tuple[str, dict]] = [
    ("reset", {"when": "before"}),
    ("reset", {"when": "after"}),
    ("reset", {"when": "after", "method": "PUT"}),
    ("reset", {"when": "after", "method": "DELETE"}),
    ("status", {"code": 502}),
    ("status", {"code": 500, "method": "PUT"}),
    ("throttle", {"block": 60}),
    ("put-412", {}),
    ("etag-drift", {}),
    ("cut-body", {}),
    ("empty-multistatus", {}),
    ("multiget-fewer", {}),
    ("sync-truncated", {"limit": 2}),
    ("lag", {"after": 40}),
    ("calendar-error", {"calendar": "home"}),
    ("calendar-error", {"calendar": "work", "status": 403}),
]
CALENDARS = ("home", "work")
OURS = [
    ("phone", "time"),
    ("phone", "title"),
    ("phone", "delete"),
    ("phone", "move"),
    ("platform", "time"),
    ("platform", "title"),
    ("platform", "withdraw"),
]
"""What can happen to an appointment, and on which side."""

EVENTS = [("person", what) for what in ("add", "edit", "delete", "move", "split", "skip")]
BY_DEVICE = [("device", what) for what in ("time", "title", "withdraw")]
PRIVATE = [("owner", what) for what in ("block", "shift", "free")]
BOOKED = [("platform", "book")] * 5
"""So often, because five of the others end an appointment."""

CHANGES = [*OURS, *OURS, *BY_DEVICE, *EVENTS, *PRIVATE, *BOOKED]


@dataclass
class Scene:
    """What all examples of one run share: a look-alike, a database, a clock and an event loop."""

    loop: asyncio.AbstractEventLoop
    server: Lookalike
    database: Database
    process: Process
    clock: Clock
    numbers: "count[int]" = field(default_factory=count)


class Life:
    """A phone, a platform, a network and a process; :meth:`settle` is the judge."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.person: Person = make_person(
            scene.server,
            scene.process.context,
            scene.database,
            scene.clock,
            email=f"p{next(scene.numbers)}@icloud.com",
        )
        self.person.names = scene.process.allowed
        scene.process.random.seed(0)
        self.histories: dict[str, History] = {}
        self.died = self.interrupted = False
        """Whether the last run got as far as it was to be killed or interrupted."""
        self._slots = count(1)
        self._origin = scene.clock.time // HOUR * HOUR + DAY

    def run(self, awaitable):
        return self.scene.loop.run_until_complete(awaitable)

    def begin(self) -> None:
        """An account with some events and appointments."""
        # Else nobody could know of an edit made between our last look and our DELETE.
        self.person.fault("delete-honours-etag")
        self.person.fault("passed-untold")
        self.connect()
        self.book()
        self.book()
        self.sync()

    def connect(self, *, sync: bool = True) -> None:
        """An account with some events, read once unless told otherwise."""
        self.fill()
        self.run(self.person.connect())
        self.person.roles()
        if sync:
            self.run(self.scene.process.round())

    def fill(self) -> None:
        """Some events in both calendars."""
        for number in range(2):
            self.person.account.put("home", timed(f"h{number}", self.slot()))
            self.person.account.put("work", timed(f"w{number}", self.slot()))
        self.person.account.put("home", weekly("series", self.slot()))

    def slot(self) -> float:
        """A start that was never used before."""
        return self._origin + next(self._slots) * 900

    # --- the phone ---

    def change_on_the_phone(self, index: int, act: str) -> None:
        """An event that is not ours is added or changed."""
        foreign = self.person.all_foreign()
        if act == "add" or not foreign:
            start = self.slot()
            make = weekly if index % 3 == 0 else timed
            self.person.account.put(CALENDARS[index % 2], make(f"e{int(start)}", start))
        else:
            self.change_foreign(*foreign[index % len(foreign)], act)

    def change_foreign(self, calendar: str, name: str, act: str) -> None:
        account = self.person.account
        data = account.get(calendar, name)
        if act == "edit":
            account.phone.reschedule(calendar, name, 7 * HOUR)
        elif act == "delete":
            account.delete(calendar, name)
        elif act == "move":
            account.move(calendar, name, "work" if calendar == "home" else "home")
        elif b"RRULE" in data:
            third = third_occurrence(data)
            if act == "split":
                account.phone.split_series(calendar, name, third, seconds=HOUR)
            else:
                account.phone.delete_occurrence(calendar, name, third)

    # --- our appointments, on both sides ---

    def change_ours(self, index: int, act: tuple[str, str]) -> None:
        """One appointment is edited on the phone, on the platform or on a device of ours."""
        who, what = act
        if who == "phone":
            pushed = self.pushed()
            if pushed:
                self.change_pushed(*pushed[index % len(pushed)], what)
        else:
            uids = self.person.local_uids()
            if uids:
                self.change_local(uids[index % len(uids)], what, who)

    def pushed(self) -> list[tuple[LedgerRow, str, str]]:
        """Our living appointments that are upstream: (row, calendar, name)."""
        found = []
        rows = {row.id: row for row in self.person.ledger()}
        for row in (rows[ledger_id] for ledger_id in self.histories):  # in the order of booking
            there = self.person.found_upstream(row.upstream_uid)
            if row.state != "deleted" and there:
                found.append((row, *there[0]))
        return found

    def change_pushed(self, row: LedgerRow, calendar: str, name: str, act: str) -> None:
        account, history = self.person.account, self.history_of(row)
        before = account.get(calendar, name)
        if act == "delete":
            account.delete(calendar, name)
            history.end(before, by_phone=True)
        elif act == "move":
            account.move(calendar, name, "work" if calendar == "home" else "home")
        else:
            start = self.slot()
            if act == "time":
                account.phone.edit(
                    calendar,
                    name,
                    DTSTART=f"{stamp(start)}Z",
                    DTEND=f"{stamp(start + HOUR)}Z",
                    DURATION=None,
                )
            else:
                account.phone.edit(calendar, name, SUMMARY=f"Phone {int(start)}")
            history.write(account.get(calendar, name), before, by_phone=True)

    def history_of(self, row: LedgerRow) -> History:
        return self.histories[row.id]

    def book(self) -> None:
        start = self.slot()
        uid = f"v{int(start)}"
        assert self.person.book_at(uid, start, summary=f"Visit {int(start)}")
        ledger = self.ledger_of(uid)
        history = self.histories[ledger.id] = History(uid)
        history.write(self.local(uid), None, by_phone=False)

    def change_local(self, uid: str, act: str, who: LoginKind) -> None:
        before = self.local(uid)
        history = self.histories[self.ledger_of(uid).id]
        if act == "withdraw":
            self.person.withdraw(uid)
            history.end(before, by_phone=False)
            return
        start = self.slot()
        title = f"Visit {int(start)}"
        body = moved_to(before, start) if act == "time" else retitled(before, title)
        assert self.person.write(uid, body, who)
        history.write(self.local(uid), before, by_phone=False)

    def change_private(self, index: int, act: str) -> None:
        """Time is blocked by hand, moved or freed on a device: never to go upstream (R14)."""
        uids = self.person.local_uids("blocked-slot")
        start = self.slot()
        if act == "block" or not uids:
            assert self.person.block(f"b{int(start)}", start)
            return
        uid = uids[index % len(uids)]
        if act == "free":
            self.person.withdraw(uid)
        else:
            assert self.person.block(uid, start)

    def local(self, uid: str) -> bytes:
        stored = self.person.platform_object(uid)
        assert stored is not None
        return stored.body

    def ledger_of(self, uid: str) -> LedgerRow:
        stored = self.person.platform_object(uid)
        return next(row for row in self.person.ledger() if row.object_id == stored.id)

    # --- the network and the process ---

    def change(self, index: int, change: tuple[str, str]) -> None:
        """One change of one thing on one side."""
        who, what = change
        if change == ("platform", "book"):
            self.book()
        elif who == "owner":
            self.change_private(index, what)
        elif who == "person":
            self.change_on_the_phone(index, what)
        else:
            self.change_ours(index, change)

    def fault(self, name: str, params: dict, times: int, skip: int) -> None:
        """Something breaks, in this run or a later one."""
        limit = {"seconds": 120} if name in ("lag", "throttle") else {"times": times, "skip": skip}
        self.person.fault(name, **limit, **params)

    def sync(self) -> None:
        """A run begins now."""
        self.make_due()
        self.run(self.scene.process.round())

    def sync_and_crash(self, at: int, seconds: int = 61) -> None:
        """Die before some step of a run; the next process takes over when the lease ends."""
        self.make_due()
        self.scene.process.fuse.set(at)
        self.died = not self.run(self.scene.process.round())
        self.run(self.scene.process.replace())
        self.person.context = self.scene.process.context
        self.scene.clock.advance(seconds)

    def interrupt(self, at: int, edit: Callable[[], None]) -> None:
        """Run with an edit before some step."""
        self.make_due()
        self.scene.process.fuse.set(at, edit)
        self.run(self.scene.process.round())
        self.interrupted = self.scene.process.fuse.steps >= at
        self.scene.process.fuse.set(None)

    def make_due(self) -> None:
        with self.scene.database.write() as session:
            accounts.update_connection(session, self.person.connection_id, next_sync_at=0.0)

    # --- the judge ---

    def settle(self) -> None:
        """Mend everything and wait: both sides are equal, and every edit is accounted for."""
        for name, _ in FAULTS:
            self.scene.server.world.faults.clear(name)
        self.scene.process.fuse.set(None)
        self.scene.clock.advance(61)

        def healed() -> bool:
            return not self.person.problems() and not differences(self.person)

        for _ in range(4):
            self.make_due()
            self.run(pass_time(self.scene.process.worker, self.scene.clock, 3 * HOUR, each=healed))
            if healed() or not self.person.retry_parked():
                break
        assert self.complaints() == []

    def complaints(self) -> list[str]:
        """What is wrong when all should be well."""
        return [
            *differences(self.person),
            *content_differences(self.person),
            *write_differences(self.person),
            *sorted(self.person.problems()),
            *self.vanished(),
        ]

    def vanished(self) -> list[str]:
        """Edits of appointments that neither side has and no conflict record keeps."""
        kept = self.conflicts()
        lost = []
        for row in self.person.ledger():
            stored = row.object_id and self.person.read(objects.find_object_by_id, row.object_id)
            dropped = [one.dropped_body for one in kept if one.ledger_id == row.id]
            lost += self.histories[row.id].lost(stored.body if stored else None, dropped)
        return lost

    def conflicts(self) -> list[conflicts.ConflictRecord]:
        """Every conflict recorded."""
        return self.person.read(
            conflicts.list_conflicts, self.person.principal_id, with_resolved=True
        )

    def end(self) -> None:
        """Settle, and be polled no more."""
        try:
            self.settle()
        finally:
            with self.scene.database.write() as session:
                accounts.update_connection(session, self.person.connection_id, state="paused")


def third_occurrence(data: bytes) -> str:
    """The third week of a series, as its RECURRENCE-ID says it."""
    first = datetime.strptime(start_of(data), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return f"{stamp((first + timedelta(weeks=2)).timestamp())}Z"


def moved_to(body: bytes, start: float) -> bytes:
    """The same appointment at another time, one hour long."""
    return _with_lines(
        body, DTSTART=f"DTSTART:{stamp(start)}Z", DTEND=f"DTEND:{stamp(start + HOUR)}Z"
    )


def retitled(body: bytes, title: str) -> bytes:
    """The same appointment under another title."""
    return _with_lines(body, SUMMARY=f"SUMMARY:{title}")


def _with_lines(body: bytes, **lines: str) -> bytes:
    kept = body.decode().split("\r\n")
    for name, line in lines.items():
        kept = [line if one.startswith((f"{name}:", f"{name};")) else one for one in kept]
    return "\r\n".join(kept).encode()
