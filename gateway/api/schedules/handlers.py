"""Handlers: schedules, their slots, and slots of several people for one question (R23-R27)."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Literal
from zoneinfo import ZoneInfo

from gateway.api.freebusy.handlers import DAY_S, check_window
from gateway.api.http.routing import AnyCall, Call, Result, json_answer
from gateway.api.schedules import shapes
from gateway.api.wire.paging import cut_page, link_next
from gateway.api.wire.shapes import NoQuery
from gateway.api.wire.times import render_instant
from gateway.core.availability.policy import Policy
from gateway.core.availability.slots import SlotRules, local_date
from gateway.core.availability.timeline import Timeline
from gateway.core.errors import InvalidInput
from gateway.core.intervals import Interval
from gateway.services.availability import policy_of
from gateway.services.questions import ask_slots
from gateway.services.schedules import schedules as use_cases
from gateway.services.schedules.schedules import find_named_people
from gateway.services.schedules.slots import (
    Slot,
    SlotQuestion,
    Slots,
    find_schedule_slots,
)
from gateway.store.access.principals import Principal
from gateway.store.booking import schedules
from gateway.store.booking.schedules import Offer, Schedule

MAX_SLOTS = 50_000
MAX_WORK = 1_000_000
"""Slots times people one call looks at."""


# --- schedules ---


async def list_schedules(call: Call[shapes.ScheduleQuery, None]) -> Result:
    """List the schedules this key can see."""
    query = call.query
    rows = await call.read(
        schedules.list_schedules,
        subaccount_id=call.bound,
        principal_id=query.principal,
        after=query.cursor,
        limit=query.limit + 1,
    )
    page, cursor = cut_page(rows, query)
    body = shapes.SchedulePage(schedules=[_show(row) for row in page], next=cursor)
    return json_answer(body, headers=link_next(call.request, cursor))


async def create_schedule(call: Call[NoQuery, shapes.ScheduleFields]) -> Result:
    """Create a schedule: what a booking page offers."""
    return await call.answer(
        _show,
        use_cases.create_schedule,
        _named(call.body),
        partial(_offer, call.body),
        bound=call.bound,
        now=call.now,
    )


async def get_schedule(call: Call[NoQuery, None]) -> Result:
    """Return one schedule."""
    return _show(await own_schedule(call))


async def replace_schedule(call: Call[NoQuery, shapes.ScheduleFields]) -> Result:
    """Put another offer in the place of a schedule's; what is left out gets its default."""
    changed = await call.write(
        use_cases.replace_schedule,
        call.path("schedule"),
        _named(call.body),
        partial(_offer, call.body),
        bound=call.bound,
        now=call.now,
    )
    return _show(changed)


async def delete_schedule(call: Call[NoQuery, None]) -> Result:
    """Remove a schedule; what was booked stays."""
    await call.write(use_cases.delete_schedule, call.path("schedule"), bound=call.bound)
    return None


async def own_schedule(call: AnyCall) -> Schedule:
    """Return the schedule the path names, if this key can see it."""
    return await call.read(schedules.get_schedule, call.path("schedule"), subaccount_id=call.bound)


def _named(body: shapes.ScheduleFields) -> dict[str, str]:
    """Return the people a body names, each with where it does."""
    if (body.principal is None) == (body.principals is None):
        raise InvalidInput(
            "Say whose time it is: either principal or principals.",
            code="principal-required",
            pointer="/principals",
        )
    if body.principals is not None:
        return _pointers(body.principals)
    return {body.principal or "": "/principal"}


def _pointers(names: Sequence[str]) -> dict[str, str]:
    """Return names, each with the pointer of its first mention."""
    return {name: f"/principals/{names.index(name)}" for name in names}


def _offer(body: shapes.ScheduleFields, people: Sequence[Principal]) -> Offer:
    return Offer(
        name=body.name,
        principal_ids=tuple(person.id for person in people),
        at_least=_at_least(body.require, people),
        on_unknown=body.on_unknown,
        on_tentative=body.on_tentative,
        rules=_rules(body, people[0].time_zone),
        personal_hours=body.personal_hours,
    )


def _at_least(require: Literal["all", "any"] | int, people: Sequence[Principal]) -> int | None:
    if require == "all":
        return None
    if isinstance(require, int) and require > len(people):
        raise InvalidInput(
            f"There are only {len(people)} people to choose {require} from.",
            code="require-too-many",
            pointer="/require",
        )
    return require if isinstance(require, int) else 1


def _require(at_least: int | None) -> Literal["all", "any"] | int:
    if at_least is None:
        return "all"
    return "any" if at_least == 1 else at_least


def _rules(body: shapes.SlotFields, time_zone: str) -> SlotRules:
    hours = body.working_hours
    if hours is not None and body.personal_hours:
        raise InvalidInput(
            "Give working hours or ask for each person's own, not both.",
            code="hours-ambiguous",
            pointer="/personal_hours",
        )
    return SlotRules(
        zone=ZoneInfo(body.time_zone or time_zone),
        duration_s=body.duration_minutes * 60,
        interval_s=(body.interval_minutes or body.duration_minutes) * 60,
        buffer_before_s=body.buffer_before_minutes * 60,
        buffer_after_s=body.buffer_after_minutes * 60,
        minimum_notice_s=body.minimum_notice_minutes * 60,
        horizon_days=body.horizon_days,
        weekdays=None if hours is None else shapes.read_weekdays(hours),
        overrides=shapes.read_overrides(body.date_overrides),
        limit_per_day=body.limit_per_day,
        limit_per_week=body.limit_per_week,
    )


def _show(found: Schedule) -> shapes.ScheduleOut:
    offer, rules = found.offer, found.offer.rules
    return shapes.ScheduleOut(
        id=found.id,
        subaccount=found.subaccount_id,
        name=offer.name,
        principals=list(offer.principal_ids),
        require=_require(offer.at_least),
        time_zone=rules.zone.key,
        duration_minutes=rules.duration_s // 60,
        interval_minutes=rules.interval_s // 60,
        buffer_before_minutes=rules.buffer_before_s // 60,
        buffer_after_minutes=rules.buffer_after_s // 60,
        minimum_notice_minutes=rules.minimum_notice_s // 60,
        horizon_days=rules.horizon_days,
        working_hours=None if rules.weekdays is None else shapes.write_weekdays(rules.weekdays),
        personal_hours=offer.personal_hours,
        date_overrides=shapes.write_overrides(rules.overrides),
        limit_per_day=rules.limit_per_day,
        limit_per_week=rules.limit_per_week,
        on_unknown=offer.on_unknown,
        on_tentative=offer.on_tentative,
        created_at=render_instant(found.created_at),
        updated_at=render_instant(found.updated_at),
    )


# --- slots ---


async def list_slots(call: Call[shapes.SlotQuery, None]) -> Result:
    """Return what can be booked in a window: slots that lie wholly in it, by start."""
    query = call.query
    window = check_window(query.start, query.end, now=call.now)
    schedule = await own_schedule(call)
    offer = schedule.offer
    _check_work(offer.rules.interval_s, window, len(offer.principal_ids))
    policy = policy_for(call, query, offer)
    question = await _question(call, offer.principal_ids, window, policy)
    found = await call.read(find_schedule_slots, schedule, window, question)
    _note_viewed(call, offer.principal_ids)
    zone = ZoneInfo(query.time_zone or offer.rules.zone.key)
    several = len(offer.principal_ids) > 1
    return render_slots(found, window, zone, several=several, by_day=query.group_by == "day")


async def find_availability(call: Call[NoQuery, shapes.AvailabilityRequest]) -> Result:
    """Return when several people are free: all of them, any, or at least so many."""
    body = call.body
    window = check_window(body.start, body.end, now=call.now)
    wanted = list(dict.fromkeys(body.principals))
    interval_s = (body.interval_minutes or body.duration_minutes) * 60
    _check_work(interval_s, window, len(wanted))
    named = _pointers(body.principals)
    await call.read(find_named_people, named, bound=call.bound)  # before anything is done about it
    policy = policy_of(call.api.settings, body.on_unknown, body.on_tentative)
    question = await _question(call, wanted, window, policy)

    found, rules = await call.read(
        ask_slots,
        named,
        partial(_rules_for, body),
        window,
        question,
        personal_hours=body.personal_hours,
        bound=call.bound,
    )
    _note_viewed(call, wanted)
    zone = ZoneInfo(body.visitor_time_zone or rules.zone.key)
    return render_slots(found, window, zone, several=True, by_day=body.group_by == "day")


def _rules_for(
    body: shapes.AvailabilityRequest, people: Sequence[Principal]
) -> tuple[SlotRules, int | None]:
    return _rules(body, people[0].time_zone), _at_least(body.require, people)


def policy_for(
    call: AnyCall, asked: shapes.SlotQuery | shapes.SlotExplainQuery, offer: Offer
) -> Policy:
    """Return the policy of a question about a schedule: its own, unless the question has one."""
    return policy_of(
        call.api.settings,
        asked.on_unknown or offer.on_unknown,
        asked.on_tentative or offer.on_tentative,
    )


async def _question(
    call: AnyCall, principal_ids: Sequence[str], window: Interval, policy: Policy
) -> SlotQuestion:
    """Gather what is in memory already, or belongs there, for the window and a day around it."""
    around = (window[0] - DAY_S, window[1] + DAY_S)
    await call.reach(principal_ids, window)
    timelines: dict[str, Timeline] = {}
    for principal_id in principal_ids:
        entry = await call.api.timelines.find(principal_id, around, now=call.now)
        if entry is not None:
            timelines[principal_id] = entry.timeline
    return SlotQuestion(now=call.now, policy=policy, timelines=timelines)


def _note_viewed(call: AnyCall, principal_ids: Iterable[str]) -> None:
    """Keep the calendars of those who are looked at fresh."""
    for principal_id in principal_ids:
        call.api.activity.note(principal_id)


def _check_work(interval_s: int, window: Interval, people: int) -> None:
    """Refuse questions with more slots than anybody reads."""
    slots = (window[1] - window[0]) // interval_s
    if slots > MAX_SLOTS or slots * people > MAX_WORK:
        raise InvalidInput(
            "That many slots are not listed in one answer; ask in pieces, or with a longer "
            "interval.",
            code="window-too-wide",
            pointer="/end",
        )


def render_slots(
    found: Slots, window: Interval, zone: ZoneInfo, *, several: bool, by_day: bool
) -> dict[str, Any]:
    """Shape one answer; every time carries the offset of the visitor's zone."""
    answer: dict[str, Any] = {
        "start": render_instant(window[0], zone),
        "end": render_instant(window[1], zone),
        "time_zone": zone.key,
        "complete": found.complete,
        "slots": [_render_slot(slot, zone, several=several) for slot in found.slots],
    }
    if by_day:
        answer["days"] = _days(found.slots, answer["slots"], window, zone)
    return answer


def _render_slot(slot: Slot, zone: ZoneInfo, *, several: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "start": render_instant(slot.start, zone),
        "end": render_instant(slot.end, zone),
    }
    if several:
        shown["principals"] = slot.principals
    return shown


def _days(
    slots: Iterable[Slot], shown: Iterable[dict[str, Any]], window: Interval, zone: ZoneInfo
) -> list[dict[str, Any]]:
    """Sort rendered slots under the dates of ``zone`` they start on."""
    first, last = local_date(window[0], zone), local_date(window[1] - 1, zone)
    count = (last - first).days + 1
    by_date: dict[Any, list[dict[str, Any]]] = {
        first + timedelta(days=offset): [] for offset in range(count)
    }
    for slot, rendered in zip(slots, shown, strict=True):
        by_date[local_date(slot.start, zone)].append(rendered)
    return [{"date": day.isoformat(), "slots": those} for day, those in by_date.items()]
