"""Handlers: somebody's own working hours, the same that CalDAV clients edit (RFC 7953)."""

from functools import partial
from zoneinfo import ZoneInfo

from gateway.api.http.routing import Call, Result
from gateway.api.schedules import shapes
from gateway.api.wire.shapes import NoQuery
from gateway.api.wire.times import render_instant
from gateway.core.availability.hours import Week
from gateway.services.schedules import working_hours
from gateway.store.access.principals import Principal
from gateway.store.booking.working_hours import StoredWeek


async def get_working_hours(call: Call[NoQuery, None]) -> Result:
    """Return somebody's own working hours."""
    return _show(await call.read(working_hours.get_working_hours, call.person))


async def put_working_hours(call: Call[NoQuery, shapes.PersonalHours]) -> Result:
    """Set somebody's own working hours; schedules with personal_hours offer them."""
    week = partial(_week, call.body)
    return _show(await call.write(working_hours.put_working_hours, call.person, week, now=call.now))


def _week(body: shapes.PersonalHours, owner: Principal) -> Week:
    return Week(
        zone=ZoneInfo(body.time_zone or owner.time_zone),
        weekdays=shapes.read_weekdays(body.working_hours),
        overrides=shapes.read_overrides(body.date_overrides),
    )


async def delete_working_hours(call: Call[NoQuery, None]) -> Result:
    """Remove somebody's own working hours: schedules with personal_hours offer nothing then."""
    await call.write(working_hours.delete_working_hours, call.person)
    return None


def _show(found: StoredWeek) -> shapes.PersonalHoursOut:
    week = found.week
    return shapes.PersonalHoursOut(
        time_zone=week.zone.key,
        working_hours=shapes.write_weekdays(week.weekdays),
        date_overrides=shapes.write_overrides(week.overrides),
        written_by="api" if found.text is None else "caldav",
        updated_at=render_instant(found.updated_at),
    )
