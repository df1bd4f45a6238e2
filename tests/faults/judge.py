"""What iCloud and the gateway disagree about; the judge of everything in this folder."""

from collections import Counter
from collections.abc import Iterable

from gateway.core.appointments.meaning import same_times
from gateway.core.appointments.mirror import serve_mirrored
from gateway.core.intervals import Interval, merge, subtract
from gateway.store.objects import collections, objects
from gateway.store.outbox.outbox import LedgerRow
from tests.faults.person import MIRRORED, Person, id_of


def differences(person: Person) -> list[str]:
    """Everything in which iCloud and the gateway disagree; empty when they have converged."""
    with person.snapshot():
        return [
            *_mirror_differences(person),
            *_own_differences(person),
            *_busy_differences(person),
            *_foreign_writes(person),
        ]


def _mirror_differences(person: Person) -> Iterable[str]:
    for calendar in person.in_use():
        if calendar.state == "gone":
            continue
        if calendar.state != "ok" or calendar.problem is not None:
            yield f"{calendar.name} is {calendar.state}, {calendar.problem}"
        if calendar.role not in MIRRORED:
            continue
        there = {name: one.etag for name, one in person.foreign(calendar).items()}
        mirror = person.read(collections.find_mirror, calendar.id)
        held = person.read(objects.upstream_etags, mirror.id)
        here = {name: etag for name, (_, etag) in held.items()}
        if here != there:
            yield f"{calendar.name}: here {here}, there {there}"
        names = sorted(person.read(objects.list_names, mirror.id))
        if names != sorted(name for name, _ in held.values()):
            yield f"{calendar.name} holds an object twice: {names}"


def content_differences(person: Person) -> Iterable[str]:
    """Mirrored objects whose text is not what is served of iCloud's text (R10)."""
    addresses = frozenset(person.connection().addresses)
    for calendar in person.in_use():
        if calendar.role not in MIRRORED or calendar.state == "gone":
            continue
        there = person.foreign(calendar)
        for name, item in person.mirrored(id_of(calendar)).items():
            if name not in there or not item.served:
                continue
            served = serve_mirrored(there[name].data, addresses, detail=calendar.detail)
            if item.body != served:
                yield f"{calendar.name}/{name} is not what iCloud holds:\n{item.body!r}\n{served!r}"


def _own_differences(person: Person) -> Iterable[str]:
    for message in person.messages():
        yield f"message {message.action} is {message.state}, {message.reason}"
    local = set(person.local_uids())
    for row in person.ledger():
        there = person.found_upstream(row.upstream_uid)
        if row.state == "deleted":
            if row.object_id is not None:
                yield f"{row.upstream_name} is deleted upstream and here still"
            if there:
                yield f"{row.upstream_name} should be deleted and is in {there}"
            continue
        yield from _pushed_differences(person, row, there)
        if row.object_id is not None:
            stored = person.read(objects.find_object_by_id, row.object_id)
            local.discard(stored.uid if stored else "")
    for uid in local:
        yield f"{uid} has no living push"
    for appointment in person.appointments():
        if (appointment.status == "confirmed") != (appointment.object_id is not None):
            yield f"appointment {appointment.title} is {appointment.status} without its object"


def _pushed_differences(
    person: Person, row: LedgerRow, there: list[tuple[str, str]]
) -> Iterable[str]:
    if len(there) != 1:
        yield f"{row.upstream_name} is {len(there)} times upstream: {there}"
        return
    ((calendar_id, name),) = there
    if (f"{person.account.home_path}{calendar_id}/", name) != (
        row.upstream_path,
        row.upstream_name,
    ):
        yield f"{name} is in {calendar_id}, the ledger says {row.upstream_path}{row.upstream_name}"
    resource = person.account.calendar(calendar_id).resources[name]
    if resource.etag != row.upstream_etag:
        yield f"{name} is {resource.etag} upstream, the ledger says {row.upstream_etag}"
    stored = person.read(objects.find_object_by_id, row.object_id) if row.object_id else None
    if stored is None:
        yield f"{name} is upstream and not here"
    elif not same_times(stored.body, resource.data):
        yield f"{name} has another time here:\n{stored.body!r}\n{resource.data!r}"
    elif _summary(stored.body) != _summary(resource.data):
        yield f"{name} has another title here"
    if row.state != "pushed":
        yield f"{name} is {row.state}, {row.reason}"


def _summary(body: bytes) -> bytes:
    return next((line for line in body.splitlines() if line.startswith(b"SUMMARY")), b"")


def _busy_differences(person: Person) -> Iterable[str]:
    said = person.availability()
    true = person.true_busy((said.start, said.end))
    if not said.complete:
        yield f"part of the time is unknown: {[s for s in said.sources if s.unknown]}"
    elif list(said.busy) != true:
        yield f"busy {sorted(set(said.busy) ^ set(true))}"


def _foreign_writes(person: Person) -> Iterable[str]:
    person.note_names()
    for entry in person.log():
        if entry.method in ("PROPFIND", "REPORT", "GET", "OPTIONS"):
            continue
        if entry.method not in ("PUT", "DELETE"):
            yield f"{entry.method} was sent"
        elif 200 <= entry.status < 300 and entry.path.rpartition("/")[2] not in person.names:
            yield f"{entry.method} {entry.path} has no ledger row"
    if person.server.world.select_mails(person.account.email):
        yield "guests were mailed"


def write_differences(person: Person) -> Iterable[str]:
    """Where the push ledger and iCloud's own record of writes disagree (R13, R16)."""
    created: Counter[str] = Counter()
    sent: set[str] = set()
    deleted: set[str] = set()
    linked = {id_of(calendar) for calendar in person.in_use() if calendar.role == "linked"}
    for entry in person.log():
        name = entry.path.rpartition("/")[2]
        if entry.method == "PUT" and entry.status in (0, 201, 204):  # 0: no answer was given
            sent.add(name)
        if entry.method == "PUT" and entry.status == 201:
            created[name] += 1
            if entry.calendar not in linked:
                yield f"{name} was created in {entry.calendar}, which is not linked"
        if entry.method == "DELETE" and entry.status == 204:
            deleted.add(name)
    yield from (f"{name} was created {often} times" for name, often in created.items() if often > 1)
    rows = {row.upstream_name: row.state for row in person.ledger()}
    living = {name for name, state in rows.items() if state != "deleted"}
    yield from (f"{name} is in the ledger and was never sent" for name in sorted(living - sent))
    yield from (f"{name} was deleted by us and lives" for name in sorted(living & deleted))
    left = {
        name
        for calendar in person.account.calendars.values()
        for name in calendar.resources
        if name in sent and name not in living
    }
    yield from (f"{name} was sent, and belongs to no appointment" for name in sorted(left))


def free_of(person: Person, spans: Iterable[Interval]) -> list[Interval]:
    """The part of these spans that is said to be free now (unknown is not free)."""
    spans = merge(spans)
    said = person.availability((spans[0][0], spans[-1][1])) if spans else None
    return subtract(spans, merge((s, e) for s, e, _ in said.busy)) if said else []
