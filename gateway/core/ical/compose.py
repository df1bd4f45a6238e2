"""Bodies composed from values alone, written with the ``icalendar`` package.

What takes over lines that somebody else wrote (the mirror, bodies for iCloud, exports) is built
with :mod:`gateway.core.ical.document`, which leaves them as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gateway.core.ical.document import PRODID, VERSION, Component, write

if TYPE_CHECKING:
    import icalendar

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Draft:
    """A component to compose: ``values`` are what ``icalendar`` turns into properties, in order.

    A text is written as TEXT, an aware datetime with its zone, a dictionary as a rule.
    """

    name: str
    values: Sequence[tuple[str, object]]
    parts: Sequence["Draft"] = field(default=())


def compose(*drafts: Draft, zones: Sequence[Component] = ()) -> bytes:
    """Write one calendar with these components, behind the VTIMEZONEs they refer to."""
    # Imported when first needed: 7 MB and an eighth of a second that no idle process pays.
    import icalendar

    calendar = icalendar.Calendar()
    calendar.add("version", VERSION)
    calendar.add("prodid", PRODID)
    for zone in zones:
        calendar.add_component(icalendar.Timezone.from_ical(write(zone)))
    for draft in drafts:
        calendar.add_component(_component(draft))
    body: bytes = calendar.to_ical(sorted=False)
    return body


def _component(draft: Draft) -> "icalendar.Component":
    import icalendar

    component = icalendar.Component.get_component_class(draft.name)()
    for name, value in draft.values:
        component.add(name, value)
    for part in draft.parts:
        component.add_component(_component(part))
    return component


def utc(instant: int) -> datetime:
    """UTC epoch seconds as a value of a draft; raises OverflowError beyond all dates."""
    return _EPOCH + timedelta(seconds=instant)
