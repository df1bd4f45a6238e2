"""Handlers: why a time is blocked, unknown or free, and why a slot is on offer or not (R25, R26).

Rule, source, role, age and object id; never a title, place or person.
"""

from typing import Any
from zoneinfo import ZoneInfo

from gateway.api.freebusy.handlers import DAY_S, check_window
from gateway.api.freebusy.shapes import ExplainQuery
from gateway.api.http.routing import Call, Result
from gateway.api.schedules.handlers import own_schedule, policy_for
from gateway.api.schedules.shapes import SlotExplainQuery
from gateway.api.wire.freebusy import render_source
from gateway.api.wire.times import render_instant
from gateway.core.availability.merge import STATUS_OF
from gateway.core.intervals import clip, merge
from gateway.services import questions
from gateway.services.availability import Explanation, policy_of
from gateway.services.schedules.slots import SlotQuestion

EXPLAIN_WINDOW_S = 31 * DAY_S


async def get_explanation(call: Call[ExplainQuery, None]) -> Result:
    """Say why a time is blocked, unknown or free: rule, source and age; never a title."""
    query = call.query
    window = check_window(query.start, query.end, now=call.now, longest_s=EXPLAIN_WINDOW_S)
    policy = policy_of(call.api.settings)
    await call.reach([call.path("principal")], window)

    principal, found = await call.read(
        questions.explain_person, call.person, window, policy, now=call.now
    )
    return render_explanation(found, ZoneInfo(query.time_zone or principal.time_zone))


async def explain_slot(call: Call[SlotExplainQuery, None]) -> Result:
    """Say why a schedule offers the slot at `start` or not: its rules, and each person's time."""
    query = call.query
    schedule = await own_schedule(call)
    offer, rules = schedule.offer, schedule.offer.rules
    window = check_window(query.start, query.start + rules.duration_s, now=call.now)
    before, after = rules.buffer_before_s, rules.buffer_after_s
    await call.reach(offer.principal_ids, (window[0] - before, window[1] + after))
    question = SlotQuestion(now=call.now, policy=policy_for(call, query, offer))
    zone = ZoneInfo(query.time_zone or rules.zone.key)
    verdict, explained = await call.read(
        questions.explain_slot, schedule, query.start, question, policy_of(call.api.settings)
    )
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
                "explanation": render_explanation(explained[one.principal.id], zone),
            }
            for one in verdict.people
        ],
    }


def render_explanation(found: Explanation, zone: ZoneInfo) -> dict[str, Any]:
    """Shape everything that counts in a window of one person, times with the offset of ``zone``."""
    answer = found.answer
    return {
        "start": render_instant(answer.start, zone),
        "end": render_instant(answer.end, zone),
        "time_zone": zone.key,
        "complete": answer.complete,
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
            for source in answer.sources
            for start, end in clip(merge(source.unknown), (answer.start, answer.end))
        ],
        "holds": [
            {
                "start": render_instant(hold.start, zone),
                "end": render_instant(hold.end, zone),
                "status": "busy",
            }
            for hold in found.holds
        ],
        "sources": [render_source(source, zone) for source in answer.sources],
        "truncated": found.truncated,
    }
