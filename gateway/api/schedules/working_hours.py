"""Handlers: somebody's own working hours, the same that CalDAV clients edit (RFC 7953)."""

from zoneinfo import ZoneInfo

from gateway.api.accounts.people import find_own
from gateway.api.http.routing import Call, Result
from gateway.api.schedules import shapes
from gateway.api.wire.shapes import NoQuery
from gateway.api.wire.times import render_instant
from gateway.core.availability.hours import Week
from gateway.core.errors import NotFound
from gateway.store.booking.working_hours import StoredWeek, delete_week, find_week, put_week
from gateway.store.engine import Session


async def get_working_hours(call: Call[NoQuery, None]) -> Result:
    """Return somebody's own working hours."""

    def unit(session: Session) -> StoredWeek:
        found = find_week(session, find_own(session, call).id)
        if found is None:
            raise NotFound("This person has no working hours of their own.")
        return found

    return _show(await call.read(unit))


async def put_working_hours(call: Call[NoQuery, shapes.PersonalHours]) -> Result:
    """Set somebody's own working hours; schedules with personal_hours offer them."""
    body = call.body

    def unit(session: Session) -> StoredWeek:
        owner = find_own(session, call)
        week = Week(
            zone=ZoneInfo(body.time_zone or owner.time_zone),
            weekdays=shapes.read_weekdays(body.working_hours),
            overrides=shapes.read_overrides(body.date_overrides),
        )
        return put_week(session, owner.id, week, now=call.now)

    return _show(await call.write(unit))


async def delete_working_hours(call: Call[NoQuery, None]) -> Result:
    """Remove somebody's own working hours: schedules with personal_hours offer nothing then."""

    def unit(session: Session) -> None:
        delete_week(session, find_own(session, call).id)

    await call.write(unit)
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
