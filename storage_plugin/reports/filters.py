"""CalDAV filters (RFC 4791 9.7) on content lines, without a calendar library.

Radicale answers everything but the simplest filter by parsing each object with vobject, and one
object it cannot parse fails the whole report. Here a filter is read once; time ranges are
answered from the stored instances, texts from the unfolded lines of the object alone.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from gateway.core.ical.document import Component, read_text
from gateway.core.ical.lines import Property, unescape_text, unfold
from storage_plugin.http.errors import DavError

_C = "{urn:ietf:params:xml:ns:caldav}"
_UTC_TIME = re.compile(r"\d{8}T\d{6}Z")
_VALUE_TIME = re.compile(r"(\d{8})(?:T(\d{6})Z?)?")

_TIMES = frozenset(
    (
        *("DTSTART", "DTEND", "DUE", "DTSTAMP", "CREATED", "LAST-MODIFIED", "COMPLETED"),
        *("RECURRENCE-ID", "EXDATE", "RDATE", "TRIGGER", "ACKNOWLEDGED"),
    )
)
"""Properties a time-range can be about (RFC 4791 9.9)."""
MAX_PARTS = 500
"""Elements of one filter: each is held against every event."""

TimeRange = tuple[int | None, int | None]
"""Start and end in UTC epoch seconds; None is open (RFC 4791 9.9)."""


@dataclass(frozen=True, slots=True)
class TextMatch:
    """A substring; ``exact`` is the collation ``i;octet``."""

    text: str
    exact: bool
    negate: bool

    def matches(self, value: str) -> bool:
        """Tell whether the value passes."""
        found = self.text in value if self.exact else self.text.casefold() in value.casefold()
        return found != self.negate


@dataclass(frozen=True, slots=True)
class ParamFilter:
    """A condition on a parameter of a property."""

    name: str
    is_not_defined: bool
    text: TextMatch | None


@dataclass(frozen=True, slots=True)
class PropFilter:
    """A condition on a property of a component."""

    name: str
    is_not_defined: bool
    time_range: TimeRange | None
    text: TextMatch | None
    params: tuple[ParamFilter, ...]


@dataclass(frozen=True, slots=True)
class CompFilter:
    """A condition on a component; all its parts must hold."""

    name: str
    is_not_defined: bool = False
    time_range: TimeRange | None = None
    props: tuple[PropFilter, ...] = ()
    comps: tuple["CompFilter", ...] = ()


# --- reading filters ---


def read_filters(elements: Iterable[Any]) -> list[CompFilter]:
    """Read ``C:filter`` elements; raises :class:`DavError` ``valid-filter``."""
    found: list[CompFilter] = []
    for element in elements:
        if sum(1 for _part in element.iter()) > MAX_PARTS:
            raise _invalid(f"A filter can have {MAX_PARTS} parts.")
        tops = [child for child in element if child.tag == f"{_C}comp-filter"]
        if len(tops) > 1:
            raise _invalid("A filter holds one comp-filter at its top.")
        found += [_comp_filter(top) for top in tops]
    if any(top.name != "VCALENDAR" for top in found):
        raise _invalid("The comp-filter at the top of a filter is of VCALENDAR.")
    return found


def read_time_range(element: Any) -> TimeRange:
    """Read ``start`` and ``end`` of a time-range; raises :class:`DavError` ``valid-filter``."""
    start, end = (read_utc(element.get(name)) for name in ("start", "end"))
    if start is None and end is None:
        raise _invalid("A time-range has a start or an end.")
    if start is not None and end is not None and end <= start:
        raise _invalid("A time-range ends after it starts.")
    return start, end


def _comp_filter(element: Any) -> CompFilter:
    ranges = [read_time_range(e) for e in element if e.tag == f"{_C}time-range"]
    return CompFilter(
        name=(element.get("name") or "").upper(),
        is_not_defined=element.find(f"{_C}is-not-defined") is not None,
        time_range=ranges[0] if ranges else None,
        props=tuple(_prop_filter(e) for e in element if e.tag == f"{_C}prop-filter"),
        comps=tuple(_comp_filter(e) for e in element if e.tag == f"{_C}comp-filter"),
    )


def _prop_filter(element: Any) -> PropFilter:
    ranges = [read_time_range(e) for e in element if e.tag == f"{_C}time-range"]
    name = (element.get("name") or "").upper()
    if ranges and name not in _TIMES and not name.startswith("X-"):
        raise _invalid(f"{name or 'A property without a name'} is no time.")
    return PropFilter(
        name=name,
        is_not_defined=element.find(f"{_C}is-not-defined") is not None,
        time_range=ranges[0] if ranges else None,
        text=_text_match(element),
        params=tuple(
            ParamFilter(
                name=(e.get("name") or "").upper(),
                is_not_defined=e.find(f"{_C}is-not-defined") is not None,
                text=_text_match(e),
            )
            for e in element
            if e.tag == f"{_C}param-filter"
        ),
    )


def _text_match(element: Any) -> TextMatch | None:
    found = element.find(f"{_C}text-match")
    if found is None:
        return None
    collation = found.get("collation") or "i;ascii-casemap"
    if collation not in ("i;ascii-casemap", "i;unicode-casemap", "i;octet", "default"):
        raise DavError(
            HTTPStatus.FORBIDDEN, "<C:supported-collation/>", "This collation is not supported."
        )
    return TextMatch(
        text=found.text or "",
        exact=collation == "i;octet",
        negate=found.get("negate-condition") == "yes",
    )


def read_utc(text: str | None) -> int | None:
    """Read a UTC DATE-TIME, None when there is none; raises :class:`DavError`."""
    if not text:
        return None
    if not _UTC_TIME.fullmatch(text):
        raise _invalid("Times of a time-range are UTC: 20260101T000000Z.")
    try:
        parsed = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise _invalid("Times of a time-range are UTC: 20260101T000000Z.") from None
    return int(parsed.timestamp())


def _invalid(text: str) -> DavError:
    return DavError(HTTPStatus.FORBIDDEN, "<C:valid-filter/>", text)


# --- asking filters ---


def component_of(filters: list[CompFilter]) -> str | None:
    """Return the one component type that can match, None when several can."""
    names = {comp.name for top in filters for comp in top.comps if not comp.is_not_defined}
    return names.pop() if len(names) == 1 else None


def ranges_of(filters: list[CompFilter]) -> list[TimeRange]:
    """Return every time range an object must touch, wherever it stands but in alarms."""
    return [
        comp.time_range
        for top in filters
        for comp in (top, *top.comps)
        if comp.time_range is not None and not comp.is_not_defined
    ]


def alarm_ranges(filters: list[CompFilter]) -> list[TimeRange]:
    """Return the time ranges in which an alarm must go off."""
    return [
        alarm.time_range
        for top in filters
        for comp in top.comps
        for alarm in comp.comps
        if alarm.name == "VALARM" and alarm.time_range is not None and not alarm.is_not_defined
    ]


def needs_text(filters: list[CompFilter]) -> bool:
    """Tell whether columns are not enough to decide.

    Several components at once are: all of them must be there, and one object holds one kind.
    """
    return any(len(top.comps) > 1 for top in filters) or any(
        comp.props or (level and comp.comps) or comp.is_not_defined
        for top in filters
        for level, comp in ((0, top), *((1, c) for c in top.comps))
    )


def matches_text(filters: list[CompFilter], body: bytes) -> bool:
    """Decide everything but time ranges on instances, from the lines of the object."""
    calendars = read_text(unfold(body)).children[:1]
    return all(_matches(calendars, top, level=0) for top in filters)


def _matches(candidates: list[Component], wanted: CompFilter, *, level: int) -> bool:
    named = [component for component in candidates if component.name == wanted.name]
    if wanted.is_not_defined:
        return not named
    return any(
        all(_has_property(component, prop) for prop in wanted.props)
        and all(_matches(component.children, comp, level=level + 1) for comp in wanted.comps)
        for component in named
    )


def _has_property(component: Component, wanted: PropFilter) -> bool:
    found = component.all(wanted.name)
    if wanted.is_not_defined:
        return not found
    return any(_property_matches(prop, wanted) for prop in found)


def _property_matches(prop: Property, wanted: PropFilter) -> bool:
    if wanted.time_range is not None and not _value_in_range(prop.value, wanted.time_range):
        return False
    if wanted.text is not None and not wanted.text.matches(unescape_text(prop.value)):
        return False
    return all(_param_matches(prop.parameter(param.name), param) for param in wanted.params)


def _param_matches(value: str | None, wanted: ParamFilter) -> bool:
    if wanted.is_not_defined:
        return value is None
    if value is None:
        return False
    check: Callable[[str], bool] = wanted.text.matches if wanted.text else bool
    return wanted.text is None or check(value)


def _value_in_range(value: str, span: TimeRange) -> bool:
    match = _VALUE_TIME.match(value.strip())
    if match is None:
        return False
    try:
        at = datetime.strptime(f"{match[1]}{match[2] or '000000'}Z", "%Y%m%d%H%M%S%z")
    except ValueError:
        return False
    instant = int(at.timestamp())
    start, end = span
    return (start is None or instant >= start) and (end is None or instant < end)
