"""REPORT: calendar-query, calendar-multiget and sync-collection (RFC 4791 7, RFC 6578).

Nothing here parses a body, but C:expand, one object at a time and inside its window. An object
that cannot be expanded is served whole: one bad object never fails a report.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo

from gateway.core.intervals import Interval
from gateway.core.recurrence.model import BusyRules
from gateway.store.objects.collections import Collection, numbered_changes
from gateway.store.objects.objects import StoredObject, find_objects, list_objects
from storage_plugin.http.effort import Effort
from storage_plugin.http.errors import Answer, DavError
from storage_plugin.http.handlers import is_usable_name, nothing_here, path_of
from storage_plugin.http.multistatus import (
    element,
    gone,
    multistatus,
    prefers_minimal,
    response,
    text,
)
from storage_plugin.http.state import current_state
from storage_plugin.reports.expansion import expand_task, expand_text
from storage_plugin.reports.filters import read_filters, read_time_range
from storage_plugin.reports.query import find_matching
from storage_plugin.requests import Request
from storage_plugin.resources import principals
from storage_plugin.resources.etags import revision_of, token_of
from storage_plugin.resources.find import Resource, to_text
from storage_plugin.resources.properties import (
    CALENDAR_DATA,
    C,
    D,
    Viewer,
    asked,
    count_missing,
    write_properties,
)
from storage_plugin.resources.propfind import resources_at, viewer_of

_EXPANDERS = {"VEVENT": expand_text, "VTODO": expand_task}


@dataclass
class Wanted:
    """Which properties a report asks for, and in which form the data."""

    tags: list[str]
    with_data: bool
    window: Interval | None
    minimal: bool


@dataclass
class Report:
    """One report on one calendar."""

    request: Request
    row: Collection
    viewer: Viewer
    wanted: Wanted
    effort: Effort = field(default_factory=lambda: current_state().effort)

    @property
    def path(self) -> str:
        """The path of the calendar."""
        return f"/{self.row.principal_id}/{self.row.name}/"

    def response(self, member: StoredObject) -> str:
        """Write the response of a member."""
        resource = Resource("object", f"{self.path}{member.name}", self.row, member)
        found, missing = write_properties(resource, self.viewer, self.wanted.tags)
        count_missing(self.effort, self.wanted.tags, missing)
        if self.wanted.with_data:
            found += element(CALENDAR_DATA, text(self._data(member)))
        path = self.viewer.base_prefix + resource.path
        return response(path, found, () if self.wanted.minimal else missing)

    def instances(self, member: StoredObject) -> str | None:
        """Write the response of a member that a query found; None without an instance to show."""
        shown = self.response(member)
        is_expanded = self.wanted.with_data and self.wanted.window is not None
        hides = (
            is_expanded
            and member.component in _EXPANDERS
            and "BEGIN:V" not in shown.replace("BEGIN:VCALENDAR", "")
        )
        return None if hides else shown

    def gone(self, name: str) -> str:
        """Write the response of a member that is not there."""
        self.effort.tick()
        return gone(f"{self.viewer.base_prefix}{self.path}{name}")

    def _data(self, member: StoredObject) -> str:
        window = self.wanted.window
        if window is None or member.component not in _EXPANDERS:
            return to_text(member.body)
        rules = BusyRules(zone=ZoneInfo(self.viewer.principal.time_zone))
        expanded = _EXPANDERS[member.component](member.body, window, rules)
        self.effort.check(len(expanded))
        return expanded


def answer(request: Request, root: Any) -> Answer:
    """Answer a report."""
    if root is None:
        raise DavError(HTTPStatus.BAD_REQUEST, "", "REPORT needs a body.")
    found = request.find()
    if found is None:
        raise nothing_here()
    minimal = prefers_minimal(request.environ)
    if root.tag in principals.REPORTS:
        resources = resources_at(request, deep=request.header("HTTP_DEPTH") == "1")
        return principals.answer(request, viewer_of(request), resources, root, minimal=minimal)
    if found.row is None:
        raise _unsupported()
    report = Report(request, found.row, viewer_of(request), _read_wanted(root, minimal=minimal))
    if root.tag == f"{C}calendar-multiget":
        return multistatus(_multiget(report, root))
    if root.tag == f"{C}calendar-query":
        return multistatus(_query(report, root, found.member.name if found.member else None))
    if root.tag == f"{D}sync-collection" and found.member is None:
        return _sync(report, root)
    raise _unsupported()


def _read_wanted(root: Any, *, minimal: bool) -> Wanted:
    props = root.find(f"{D}prop")
    tags = asked(props) if props is not None else []
    data = props.find(CALENDAR_DATA) if props is not None else None
    if data is not None and not _is_ours(data):
        raise DavError(
            HTTPStatus.FORBIDDEN, "<C:supported-calendar-data/>", "There is text/calendar 2.0 only."
        )
    expand = data.find(f"{C}expand") if data is not None else None
    window = None
    if expand is not None:
        start, end = read_time_range(expand)
        if start is None or end is None:
            raise DavError(HTTPStatus.FORBIDDEN, "<C:valid-filter/>", "expand needs start and end.")
        window = (start, end)
    return Wanted([t for t in tags if t != CALENDAR_DATA], data is not None, window, minimal)


def _is_ours(data: Any) -> bool:
    """Tell whether calendar-data is asked for in the form we have (RFC 4791 9.6)."""
    kind = data.get("content-type", "text/calendar").partition(";")[0].strip().lower()
    return bool(kind == "text/calendar" and data.get("version", "2.0").strip() == "2.0")


def _multiget(report: Report, root: Any) -> Iterable[str]:
    """Answer each href asked for, in that order, once."""
    names: dict[str, str | None] = {}
    for node in root.findall(f"{D}href"):
        try:
            path = path_of(node.text or "")
        except ValueError:
            raise DavError(HTTPStatus.BAD_REQUEST, "", "An href is no address.") from None
        names.setdefault(path, _name_in(report, path))
    known = find_objects(
        report.request.session(),
        report.row.id,
        [name for name in names.values() if name is not None],
        with_bodies=report.wanted.with_data,
    )
    for path, name in names.items():
        report.effort.tick()
        member = known.get(name) if name is not None else None
        yield report.response(member) if member is not None else gone(path)


def _name_in(report: Report, path: str) -> str | None:
    """Return the name an href has in this calendar, None for a foreign one."""
    inside = path.removeprefix(f"{report.viewer.base_prefix}{report.path}")
    is_member = inside != path and inside and "/" not in inside and is_usable_name(inside)
    return inside if is_member else None


def _query(report: Report, root: Any, only: str | None) -> Iterable[str]:
    filters = read_filters(root.findall(f"{C}filter"))
    session, row = report.request.session(), report.row
    members = find_matching(
        session, row, filters, with_bodies=report.wanted.with_data, effort=report.effort
    )
    chosen = (member for member in members if only is None or member.name == only)
    return (found for member in chosen if (found := report.instances(member)) is not None)


def _sync(report: Report, root: Any) -> Answer:
    """Tell what changed since a token; deletions are 404 responses (RFC 6578 3.5)."""
    row, session = report.row, report.request.session()
    token = (root.findtext(f"{D}sync-token") or "").strip()
    limit = _limit(root)
    if not token and limit is None:
        members = list_objects(session, row.id, with_bodies=report.wanted.with_data)
        every = (report.response(member) for member in members)
        return multistatus(every, element(f"{D}sync-token", token_of(row)))
    try:
        since = revision_of(row, token) if token else 0
    except ValueError as error:
        raise DavError(
            HTTPStatus.FORBIDDEN, "<valid-sync-token/>", f"Synchronise afresh: {error}."
        ) from None
    is_current = since == row.revision  # most syncs; the row is of the same snapshot
    readable = None if limit is None else limit + 1  # one more tells whether the page is the last
    changes = [] if is_current else numbered_changes(session, row.id, since, limit=readable)
    page, last = _page(changes, limit)
    names = [name for name, _revision in page]
    known = find_objects(session, row.id, names, with_bodies=report.wanted.with_data)
    lines = [
        report.response(known[name]) if name in known else report.gone(name)
        for name in names
        if token or name in known
    ]
    if last is not None:
        reason = "<error><number-of-matches-within-limits/></error>"
        here = report.request.full_path
        lines.append(gone(here, HTTPStatus.INSUFFICIENT_STORAGE, reason))
    return multistatus(lines, element(f"{D}sync-token", token_of(row, last)))


def _limit(root: Any) -> int | None:
    found = root.findtext(f"{D}limit/{D}nresults")
    if found is None:
        return None
    digits = found.strip().lstrip("0")
    if not digits.isascii() or not digits.isdigit():
        raise DavError(HTTPStatus.BAD_REQUEST, "", "nresults is a positive number.")
    return int(digits[:10])  # more than anybody has; Python refuses to read very long numbers


def _page(
    changes: list[tuple[str, int]], limit: int | None
) -> tuple[list[tuple[str, int]], int | None]:
    """Return the changes that fit and the revision they reach, None when all fit.

    A page ends between two revisions; a revision too large for one page cannot be cut.
    """
    if limit is None or len(changes) <= limit:
        return changes, None
    cut = changes[limit][1]
    page = [change for change in changes[:limit] if change[1] < cut]
    if not page:
        raise DavError(
            HTTPStatus.INSUFFICIENT_STORAGE,
            "<number-of-matches-within-limits/>",
            "This many changes cannot be split; ask without a limit.",
        )
    return page, page[-1][1]


def _unsupported() -> DavError:
    return DavError(
        HTTPStatus.FORBIDDEN, "<supported-report/>", "This report is not answered here."
    )
