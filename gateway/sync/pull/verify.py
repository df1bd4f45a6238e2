"""What a run found out about each calendar: the account's state says nothing of these (R28)."""

from gateway.services.accounts.polls import IN_USE
from gateway.store.accounts import calendars
from gateway.store.accounts.calendars import UpstreamCalendar, member_detail
from gateway.store.engine import Session
from gateway.sync.report import CalendarOutcome, CalendarReport, Outcome, SyncReport

_UNREAD_STATES = {
    "never": "never-synced",
    "syncing": "first-sync",
    "failed": "calendar-failed",
}


def judge_calendars(session: Session, report: SyncReport) -> list[CalendarOutcome]:
    """Say of each calendar in use whether the run of ``report`` read it to its end.

    One that the run did not pull was found as it was read last, unless its own state says more: a
    calendar missing from the home's listing, or given its use after that, was not looked at.
    """
    pulled = {one.calendar_id: one for one in report.calendars}
    return [
        _judge(calendar, pulled.get(calendar.id))
        for calendar in calendars.list_calendars(session, report.connection_id)
        if calendar.role in IN_USE
    ]


def _judge(calendar: UpstreamCalendar, report: CalendarReport | None) -> CalendarOutcome:
    problem, detail = _problem(calendar, report)
    outcome: Outcome
    if calendar.state == "gone":
        outcome = "gone"
    elif problem is not None:
        outcome = "failed"
    elif calendar.catching_up:
        outcome, problem, detail = "catching-up", "catching-up", member_detail(calendar)
    else:
        outcome = "unchanged" if report is None else "read"
    return CalendarOutcome(
        id=calendar.id,
        name=calendar.name,
        blocks=calendar.blocks and calendar.role != "tracked",
        outcome=outcome,
        changed=report.changed if report else 0,
        removed=report.removed if report else 0,
        problem=problem,
        detail=detail,
    )


def _problem(
    calendar: UpstreamCalendar, report: CalendarReport | None
) -> tuple[str | None, str | None]:
    """Return why a calendar was not read, by code and sentence; members apart."""
    if report is not None and report.problem not in (None, "catching-up"):
        return report.problem, report.detail
    if calendar.problem is not None:
        return calendar.problem, calendar.problem_detail
    if calendar.kind != "calendar":
        return calendar.refusal or "calendar-refused", "This is no event calendar any more."
    if calendar.missing_since is not None:
        return "calendar-missing", "iCloud did not list this calendar just now."
    if calendar.state in _UNREAD_STATES:
        return _UNREAD_STATES[calendar.state], "This calendar was not read to its end yet."
    return None, None
