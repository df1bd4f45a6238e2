"""How an event counts: busy, tentative, free, and the word for why.

The order of the questions is the rule (strongest first): cancelled, an appointment of ours,
declined, the calendar's choice for all-day events, transparency, Outlook's busy status,
tentative, busy.
"""

from gateway.core.ical.document import Component
from gateway.core.ical.lines import Property
from gateway.core.recurrence.model import BusyRules
from gateway.core.status import FBType

Verdict = tuple[FBType, str]

# An organiser's or guest's answers, the most blocking first (several own addresses may be invited).
_ANSWERS = ("ACCEPTED", "TENTATIVE", "NEEDS-ACTION", "DECLINED")

_OUTLOOK: dict[str, Verdict] = {
    "FREE": (FBType.FREE, "outlook-free"),
    "TENTATIVE": (FBType.TENTATIVE, "outlook-tentative"),
    "BUSY": (FBType.BUSY, "outlook-busy"),
    "OOF": (FBType.UNAVAILABLE, "outlook-out-of-office"),
}

_ALL_DAY: dict[str, Verdict] = {
    "block": (FBType.BUSY, "all-day-blocks"),
    "ignore": (FBType.FREE, "all-day-ignored"),
}


def classify(event: Component, rules: BusyRules, *, all_day: bool) -> Verdict:
    """Return the FBTYPE of an event and the reason, a stable machine word."""
    status = event.text("STATUS").upper()
    if status == "CANCELLED":
        return FBType.FREE, "cancelled"
    if rules.always_busy:
        return FBType.BUSY, "appointment"
    answer = own_answer(event, rules.owner_addresses)
    if answer == "DECLINED":
        return FBType.FREE, "declined"
    free = _transparency(event, rules, all_day=all_day)
    if free is not None and free[0] is not FBType.BUSY:
        return free
    if status == "TENTATIVE" or answer == "TENTATIVE":
        return FBType.TENTATIVE, "tentative"
    if answer == "NEEDS-ACTION":
        return FBType.TENTATIVE, "needs-action"
    return free or (FBType.BUSY, "opaque")


def _transparency(event: Component, rules: BusyRules, *, all_day: bool) -> Verdict | None:
    """Return what the calendar's choice for all-day events, TRANSP or Outlook's property say.

    None: opaque, which is what an absent TRANSP means, all-day or not (RFC 5545 3.8.2.7). Apple's
    server reads it as free on all-day events; Apple's devices always write it, so an unmarked one
    was made by something else, and what is not known to be free is not sold.
    """
    if all_day and rules.all_day != "as-marked":
        return _ALL_DAY[rules.all_day]
    transp = event.text("TRANSP").upper()
    if transp:
        return (FBType.FREE, "transparent") if transp == "TRANSPARENT" else None
    return _OUTLOOK.get(event.text("X-MICROSOFT-CDO-BUSYSTATUS").upper())


def own_answer(event: Component, addresses: frozenset[str]) -> str | None:
    """Return the owner's PARTSTAT in upper case; None when not invited, or when he invited himself.

    An organiser attends his own event unless he says otherwise: a missing or unanswered
    PARTSTAT of his counts as acceptance. For a guest a missing PARTSTAT is NEEDS-ACTION
    (RFC 5545 3.2.12).
    """
    if not addresses:
        return None
    answers = {
        (prop.parameter("PARTSTAT") or "NEEDS-ACTION").upper()
        for prop in event.all("ATTENDEE")
        if is_own_address(prop, addresses)
    }
    if not answers:
        return None
    answer = next((known for known in _ANSWERS if known in answers), "ACCEPTED")
    if answer == "NEEDS-ACTION":
        organizer = event.first("ORGANIZER")
        if organizer is not None and is_own_address(organizer, addresses):
            return None
    return answer


def is_own_address(prop: Property, addresses: frozenset[str]) -> bool:
    """Whether an ATTENDEE or ORGANIZER is one of ``addresses``, by value or EMAIL parameter.

    Apple writes principal paths and ``urn:uuid:`` values and puts the address into EMAIL.
    """
    if normal_address(prop.value) in addresses:
        return True
    email = prop.parameter("EMAIL")
    return email is not None and normal_address(email) in addresses


def normal_address(value: str) -> str:
    """Return a calendar user address as we compare it: lower case, no ``mailto:``, no blanks."""
    address = value.strip().lower()
    return address.removeprefix("mailto:").strip()
