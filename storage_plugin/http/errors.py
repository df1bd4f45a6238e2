"""Refusals in WebDAV's words: a status, a precondition element and a sentence for a person.

:class:`DavError` is no ``ValueError`` on purpose: Radicale turns those into an answer *inside*
the lock, which would commit half of the work. Ours leave the lock as exceptions.
"""

import random
from http import HTTPStatus
from urllib.parse import quote
from xml.sax.saxutils import escape

from gateway.core.errors import (
    CalendarStays,
    GatewayError,
    InvalidCalendarData,
    NotAllowed,
    NotFound,
    OverQuota,
    SlotTaken,
    StateConflict,
    StoreBusy,
    StoreFull,
    UidTaken,
)
from gateway.core.ical.values import format_utc
from gateway.observe import logger

GATEWAY_NS = "urn:icloud-caldav-gateway:dav"
"""Namespace of our own elements: ``calendar-subscribed``, ``slot-taken`` and the like."""

TEXT_NS = "http://twistedmatrix.com/xml_namespace/dav/"
"""Of ``error-description``: where Apple's servers put a sentence for people into a DAV:error.

Its clients show it and its test suite expects it; responsedescription has no place there
(RFC 4918 14.5, 14.25).
"""

PREFIXES = {
    "D": "DAV:",
    "C": "urn:ietf:params:xml:ns:caldav",
    "CS": "http://calendarserver.org/ns/",
    "A": "http://apple.com/ns/ical/",
    "G": GATEWAY_NS,
}
"""The prefixes every answer declares on its root element."""

DECLARATIONS = "".join(
    f' xmlns="{uri}"' if prefix == "D" else f' xmlns:{prefix}="{uri}"'
    for prefix, uri in PREFIXES.items()
)
RETRY_AFTER_S = 5

Answer = tuple[int, dict[str, str], str | None, None]
"""Status, headers and body, and nothing: what Radicale would log of the request."""

_log = logger("caldav")


class DavError(Exception):
    """An answer that refuses; ``condition`` is an XML fragment in the prefixes above."""

    def __init__(
        self, status: int, condition: str, text: str, *, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.condition = condition
        self.text = text
        self.headers = headers or {}

    def response(self) -> Answer:
        """Return the answer."""
        body = (
            f'<?xml version="1.0" encoding="utf-8"?>\n<error{DECLARATIONS}>{self.condition}'
            f'<error-description xmlns="{TEXT_NS}">{escape(self.text)}</error-description>'
            "</error>\n"
        )
        return self.status, {"Content-Type": "application/xml", **self.headers}, body, None


def need_privileges(href: str, privilege: str, text: str) -> DavError:
    """403 with what would have been needed (RFC 3744 7.1.1)."""
    return DavError(
        HTTPStatus.FORBIDDEN,
        f"<need-privileges><resource><href>{escape(href)}</href>"
        f"<privilege><{privilege}/></privilege></resource></need-privileges>",
        text,
    )


def calendar_subscribed() -> DavError:
    """403: subscriptions are refused everywhere (R8)."""
    return DavError(
        HTTPStatus.FORBIDDEN,
        "<G:calendar-subscribed/>",
        "Subscribed calendars are not accepted here: their events belong to somebody else and "
        "can neither block time nor be written to. Subscribe to it in the calendar app itself.",
    )


def from_gateway_error(error: GatewayError) -> DavError:
    """Translate an error of the lower layers; the only place that does for this face.

    What is our trouble is logged with its cause, under the id that the answer carries; a full
    quota is the caller's.
    """
    refusal = _translate(error)
    is_ours = refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if is_ours and not isinstance(error, OverQuota):
        request_id = f"{random.getrandbits(64):016x}"
        refusal.headers["X-Request-Id"] = request_id
        known = {"request_id": request_id, "status": int(refusal.status), "code": error.code}
        _log.warning("request failed", **known, cause=getattr(error, "cause", ""))
    return refusal


def _translate(error: GatewayError) -> DavError:
    text = error.detail
    match error:
        case InvalidCalendarData():
            return DavError(HTTPStatus.FORBIDDEN, "<C:valid-calendar-data/>", text)
        case SlotTaken():
            gaps = "".join(
                f'<G:next-free start="{format_utc(start)}" end="{format_utc(end)}"/>'
                for start, end in error.next_free
            )
            return DavError(HTTPStatus.CONFLICT, f"<G:slot-taken>{gaps}</G:slot-taken>", text)
        case UidTaken():
            link = escape(quote(f"/{error.principal_id}/{error.calendar}/{error.name}"))
            holder = f"<C:no-uid-conflict><href>{link}</href></C:no-uid-conflict>"
            return DavError(HTTPStatus.CONFLICT, holder, text)
        case StateConflict(code="calendar-exists"):
            return DavError(HTTPStatus.CONFLICT, "<resource-must-be-null/>", text)
        case StateConflict():
            return DavError(HTTPStatus.CONFLICT, f"<G:{error.code}/>", text)
        case NotFound():
            return DavError(HTTPStatus.NOT_FOUND, "", text)
        case CalendarStays():
            return need_privileges(f"/{error.principal_id}/", "unbind", text)
        case NotAllowed():
            return DavError(HTTPStatus.FORBIDDEN, f"<G:{error.code}/>", text)
        case OverQuota() | StoreFull():
            return DavError(HTTPStatus.INSUFFICIENT_STORAGE, "<quota-not-exceeded/>", text)
        case StoreBusy():
            retry = {"Retry-After": str(RETRY_AFTER_S)}
            return DavError(HTTPStatus.SERVICE_UNAVAILABLE, "", text, headers=retry)
    return DavError(HTTPStatus.INTERNAL_SERVER_ERROR, "", text)
