"""Handlers: why a time is blocked, unknown or free, and why a slot is on offer or not (R25, R26).

Rule, source, role, age and object id; never a title, place or person.
"""

from typing import Any
from zoneinfo import ZoneInfo

from gateway.api.accounts.people import find_own
from gateway.api.freebusy.handlers import DAY_S, check_window
from gateway.api.freebusy.shapes import ExplainQuery
from gateway.api.http.routing import Call, Result
from gateway.api.schedules.handlers import find_own_schedule
from gateway.api.schedules.shapes import SlotExplainQuery
from gateway.api.wire.answers import render_source
from gateway.api.wire.times import render_instant
from gateway.core.availability.merge import STATUS_OF
from gateway.core.intervals import Interval, clip, merge
from gateway.services.availability import explain, free_busy
from gateway.services.slot_reasons import judge_slot
from gateway.services.slots import Question
from gateway.store.access.principals import Principal
from gateway.store.engine import Session

EXPLAIN_WINDOW_S = 31 * DAY_S


async def get_explanation(call: Call[ExplainQuery, None]) -> Result:
    """Say why a time is blocked, unknown or free: rule, source and age; never a title."""
    query = call.query
    window = check_window(query.start, query.end, now=call.now, longest_s=EXPLAIN_WINDOW_S)
    fresh_for_s = call.api.settings.fresh_for_s
    await call.reach([call.path("principal")], window)

    def unit(session: Session) -> dict[str, Any]:
        principal = find_own(session, call)
        zone = ZoneInfo(query.time_zone or principal.time_zone)
        return render_explanation(
            session, principal, window, zone, now=call.now, fresh_for_s=fresh_for_s
        )

    return await call.read(unit)


async def explain_slot(call: Call[SlotExplainQuery, None]) -> Result:
    """Say why a schedule offers the slot at `start` or not: its rules, and each person's time."""
    query = call.query
    schedule = await call.read(find_own_schedule, call)
    offer, rules = schedule.offer, schedule.offer.rules
    window = check_window(query.start, query.start + rules.duration_s, now=call.now)
    before, after = rules.buffer_before_s, rules.buffer_after_s
    await call.reach(offer.principal_ids, (window[0] - before, window[1] + after))
    question = Question(
        now=call.now,
        on_unknown=query.on_unknown or offer.on_unknown,
        on_tentative=query.on_tentative or offer.on_tentative,
        fresh_for_s=call.api.settings.fresh_for_s,
    )
    zone = ZoneInfo(query.time_zone or rules.zone.key)
    fresh_for_s = call.api.settings.fresh_for_s

    def unit(session: Session) -> dict[str, Any]:
        verdict = judge_slot(session, schedule, query.start, question)
        return {
            "start": render_instant(verdict.start, zone),
            "end": render_instant(verdict.end, zone),
            "time_zone": zone.key,
            "offered": verdict.offered,
            "complete": verdict.complete,
            "against": list(verdict.against),
            "people": [
                {
                    "principal": one.principal.id,
                    "against": list(one.against),
                    "explanation": render_explanation(
                        session,
                        one.principal,
                        verdict.looked_at,
                        zone,
                        now=call.now,
                        fresh_for_s=fresh_for_s,
                    ),
                }
                for one in verdict.people
            ],
        }

    return await call.read(unit)


def render_explanation(
    session: Session,
    principal: Principal,
    window: Interval,
    zone: ZoneInfo,
    *,
    now: int,
    fresh_for_s: int,
) -> dict[str, Any]:
    """Shape everything that counts in a window of one person, times with the offset of ``zone``."""
    found = explain(session, principal, window, now=now, fresh_for_s=fresh_for_s)
    whole = free_busy(session, principal, window, now=now, fresh_for_s=fresh_for_s)
    held = [(start, end, "busy") for start, end, _ in found.holds]
    return {
        "start": render_instant(window[0], zone),
        "end": render_instant(window[1], zone),
        "time_zone": zone.key,
        "complete": whole.complete,
        "reasons": [
            {
                "start": render_instant(row.start, zone),
                "end": render_instant(row.end, zone),
                "status": STATUS_OF.get(row.fbtype, "free"),
                "rule": row.reason,
                "object": row.object_id,
                "kind": row.kind,
                "calendar": found.collections[row.collection_id].calendar,
                "role": found.collections[row.collection_id].role,
                "state": found.collections[row.collection_id].state,
                "age_s": found.collections[row.collection_id].age_s,
            }
            for row in found.reasons
        ],
        "unknown": [
            {
                "start": render_instant(start, zone),
                "end": render_instant(end, zone),
                "calendar": source.calendar,
                "state": source.state,
                "problem": source.problem,
            }
            for source in found.sources
            for start, end in clip(merge(source.unknown), window)
        ],
        "holds": [
            {
                "start": render_instant(start, zone),
                "end": render_instant(end, zone),
                "status": status,
            }
            for start, end, status in held
        ],
        "sources": [render_source(source, zone) for source in found.sources],
        "truncated": found.truncated,
    }
