"""Runs every function of the store with arguments made up from its signature, and notes its SQL.

A new function is found by itself; one whose arguments cannot be made up needs a line in
:func:`special`. What a function makes of the arguments does not matter, only what it asks.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin
from zoneinfo import ZoneInfo

from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from gateway import store
from gateway.core.appointments.fields import AppointmentFields
from gateway.core.availability.hours import Week
from gateway.core.availability.slots import SlotRules
from gateway.core.errors import GatewayError
from gateway.store.access.idempotency import Reservation
from gateway.store.accounts.accounts import Credential, Keyring
from gateway.store.accounts.leases import Standing
from gateway.store.accounts.members import Unread
from gateway.store.accounts.runs import IdleEnd
from gateway.store.booking.schedules import Offer
from gateway.store.engine import Database, Session
from gateway.store.objects.expansions import Outdated
from gateway.store.objects.objects import StoredObject
from gateway.store.operations.erasing import Target
from gateway.store.outbox.outbox import LedgerRow, OutboxMessage
from gateway.store.outbox.overview import Scope
from tests.store.conftest import NOW, Place, prepared

Arguments = dict[str, Any]

HELPERS = {
    "checkup.paged",  # runs the statement it is given
    "engine.notify_generation",  # says nothing on SQLite
    "engine.upsert",  # runs the statement it is given
    "freshness.tell_verified",  # says nothing on SQLite
}
"""Functions that ask nothing of their own."""


@dataclass(frozen=True)
class Statement:
    """One statement as it was sent, with the parameters of its first row."""

    function: str
    sql: str
    parameters: Any = field(hash=False, compare=False)


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield each public function of the store that works in a unit, by its name."""
    for module in pkgutil.walk_packages(store.__path__, "gateway.store."):
        if module.ispkg or ".migrations." in module.name:
            continue
        loaded = importlib.import_module(module.name)
        room = module.name.rpartition(".")[2]
        for name, function in inspect.getmembers(loaded, inspect.isfunction):
            first = next(iter(inspect.signature(function).parameters), None)
            is_own = function.__module__ == loaded.__name__ and not name.startswith("_")
            if is_own and first == "session" and f"{room}.{name}" not in HELPERS:
                yield f"{room}.{name}", function


def record(database: Database, place: Place, keyring: Keyring) -> list[Statement]:
    """Run each function several ways, rolling each back; returns the different statements."""
    found: dict[Statement, None] = {}
    for name, function in functions():
        for arguments in ways(name, function, place, keyring):
            found.update(dict.fromkeys(_statements(database, name, function, arguments)))
    return list(found)


def _statements(
    database: Database, name: str, function: Callable[..., Any], arguments: Arguments
) -> list[Statement]:
    seen: list[Statement] = []

    def note(_c: Any, _cursor: Any, sql: str, parameters: Any, _x: Any, many: bool) -> None:
        seen.append(Statement(name, sql, parameters[0] if many else parameters))

    with database.engine.connect().execution_options(gateway_write=True) as session:
        session.begin()
        event.listen(session, "before_cursor_execute", note)
        try:
            _call(session, function, dict(arguments))
        except (GatewayError, SQLAlchemyError):
            pass  # not there, taken, …: it was asked for
        finally:
            event.remove(session, "before_cursor_execute", note)
            session.rollback()
    assert seen, f"{name} asks nothing with {arguments}"
    return seen


def _call(session: Session, function: Callable[..., Any], arguments: Arguments) -> None:
    only = inspect.Parameter.POSITIONAL_ONLY
    parameters = list(inspect.signature(function).parameters.values())[1:]
    placed = [arguments.pop(one.name) for one in parameters if one.kind is only]
    function(session, *placed, **arguments)


def ways(
    name: str, function: Callable[..., Any], place: Place, keyring: Keyring
) -> Iterator[Arguments]:
    """Yield arguments for a function: the required ones, all, and one scope after the other."""
    known = special(place, keyring).get(name, {})
    parameters = list(inspect.signature(function).parameters.values())[1:]
    required: Arguments = {}
    optional: Arguments = {}
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            required.update(known.get(parameter.name, {}))
            continue
        value = (
            known[parameter.name]
            if parameter.name in known
            else _make_up(name, parameter, place, keyring)
        )
        (required if parameter.default is parameter.empty else optional)[parameter.name] = value
    yield required
    if optional:
        yield {**required, **optional}
    if "scope" in required:
        for scope in (Scope(), Scope(subaccount_id=place.principal.subaccount_id)):
            yield {**required, "scope": scope}
            yield {**required, **optional, "scope": scope}


_BY_NAME: dict[str, Any] = {
    "now": NOW,
    "limit": 10,
    "after": (NOW, "x"),
    "name": "a.ics",
    "owner": "worker",
    "lease_s": 60.0,
    "backoff": float,
    "state": "pending",
    "addresses": ["ann@icloud.example"],
    "emails": ["ann@icloud.example"],
    "window": (NOW, NOW + 86_400),
    "span": (NOW, NOW + 60),
    "names": ["a.ics", "b.ics"],
    "path": "/x/",
    "reservation": Reservation("k", "x", NOW),
}


def _make_up(name: str, parameter: inspect.Parameter, place: Place, keyring: Keyring) -> Any:
    ids = {
        "principal_id": place.principal.id,
        "principal_ids": [place.principal.id],
        "subaccount_id": place.principal.subaccount_id,
        "only": place.principal.subaccount_id,
        "collection_id": place.mirror.id,
        "collection_ids": [place.mirror.id],
        "collection": place.mirror,
        "connection_id": place.connection.id,
        "connection_ids": [place.connection.id],
        "calendar_id": place.calendar_id,
        "upstream_calendar_id": place.calendar_id,
        "calendar_ids": [place.calendar_id],
        "keyring": keyring,
        "scope": Scope(principal_id=place.principal.id),
        "prepared": prepared("a.ics", (NOW, NOW + 60)),
        **_BY_NAME,
    }
    if parameter.name in ids:
        return ids[parameter.name]
    return _of_type(name, parameter.name, parameter.annotation)


def _of_type(function: str, name: str, annotation: Any) -> Any:
    plain = {str: "x", int: NOW, float: float(NOW), bytes: b"x", bool: True}
    if annotation in plain:
        return plain[annotation]
    members = [one for one in get_args(annotation) if one is not type(None)]
    if type(None) in get_args(annotation):
        return _of_type(function, name, members[0])
    origin = get_origin(annotation)
    if str(origin) == "typing.Literal":
        return members[0]
    if members == [str] and origin is not None:
        return ["x"]
    raise AssertionError(f"{function} takes {name}: say in special() what it may be")


def special(place: Place, keyring: Keyring) -> dict[str, Arguments]:
    """Return the arguments that no signature tells, by function."""
    person = place.principal.id
    message = OutboxMessage(
        id=1,
        ledger_id="led_x",
        connection_id=place.connection.id,
        action="put",
        state="pending",
        reason=None,
        detail=None,
        attempts=1,
        due_at=0.0,
        in_doubt=False,
        created_at=NOW,
    )
    ledger = LedgerRow(
        **{
            **dict.fromkeys(LedgerRow.__dataclass_fields__),
            "id": "led_x",
            "principal_id": person,
        }
    )
    stored = StoredObject(
        **{
            **dict.fromkeys(StoredObject.__dataclass_fields__),
            "id": "obj_x",
            "principal_id": person,
            "uid": "x",
            "name": "x",
            "body": b"x",
        }
    )
    zone = ZoneInfo("UTC")
    offer = Offer("x", (person,), None, "block", "block", SlotRules(zone, 1800, 1800))
    outdated = Outdated(
        **{**dict.fromkeys(Outdated.__dataclass_fields__), "id": "obj_x", "etag": "x"}
    )
    expansion = prepared("a.ics", (NOW, NOW + 60)).expansion
    return {
        "accounts.create_connection": {"credential": Credential("a@b.example", "x")},
        "accounts.store_credential": {"credential": Credential("a@b.example", "x")},
        "accounts.update_connection": {"changes": {"failures": 1}},
        "bookings.create_appointment": {"fields": AppointmentFields(external_id="x")},
        "bookings.update_appointment": {"changes": {"title": "x"}},
        "calendars.create_calendar": {
            "values": {"name": "x", "kind": "calendar", "writable": True}
        },
        "erasing.erase_piece": {"target": Target("principal", person)},
        "erasing.next_target": {"but": {person}},
        "moves.note_deletion": {"found": stored},
        "objects.remove_object": {"known": stored},
        "objects.write_object": {"known": stored},
        "bookings.change_appointment_of": {"changes": {"title": "x"}},
        "outbox.postpone": {"message": message},
        "outbox.update_ledger": {"changes": {"reason": "x"}},
        "working_hours.put_week": {"week": Week(zone, ((),) * 7)},
        "principals.update_login": {"changes": {"label": "x"}},
        "principals.update_principal": {"changes": {"time_zone": "UTC"}},
        "principals.update_subaccount": {"changes": {"name": "x"}},
        "calendars.create_calendars": {
            "listed": [{"path": "/x/", "name": "x", "kind": "calendar", "writable": True}]
        },
        "calendars.update_calendar": {"changes": {"name": "x"}},
        "calendars.update_calendars": {"changes": {"cal_x": {"name": "x"}}},
        "collections.create_collection": {"properties": {}, "components": ("VEVENT",)},
        "collections.update_collection": {"properties": {}},
        "conflicts.record_conflict": {"ledger": ledger},
        "expansions.ids_of_earlier_engine": {"after": ""},
        "expansions.outdated_objects": {"after": ""},
        "expansions.replace_expansions": {"done": [(outdated, expansion)]},
        "horizons.ask_horizon": {"wanted": (NOW, NOW + 86_400)},
        "keys.create_key": {"scopes": frozenset({"admin"})},
        "login_failures.note_failures": {"failures": [(NOW, b"a", b"b")]},
        "members.settle_members": {"unread": {"a.ics": Unread(None, True, "not-found")}},
        "objects.insert_instances": {"expanded": [(place.mirror.id, "obj_x", expansion)]},
        "objects.save_objects": {"prepared": [prepared("a.ics", (NOW, NOW + 60))]},
        "rate_counts.add_counts": {"counts": {"x": 1}, "window": 1},
        "runs.note_idle": {"ends": [IdleEnd(place.connection, {"failures": 0})]},
        "runs.note_crash": {
            "before": Standing(place.connection.id, person, "ok", 0),
            "state": "secret-unreadable",
            "changes": {"failures": 1},
        },
        "runs.note_run": {"before": place.connection, "changes": {"failures": 0}},
        "schedules.create_schedule": {"offer": offer},
        "schedules.replace_schedule": {"offer": offer},
    }
