"""Which text is the address of a subscribed or published calendar, in whatever spelling (R8).

Every door asks here: connecting an account, choosing calendars, MKCALENDAR and PROPPATCH. Nothing
is ever fetched; a text is only looked at.
"""

import html
import re
import unicodedata
from urllib.parse import unquote

from gateway.core.errors import InvalidInput

_DECODED_AT_MOST = 3
_LONGEST = 4096
_COLONS = str.maketrans(dict.fromkeys("\u02d0\u02f8\u05c3\u0589\u2236\ua789", ":"))
_SLASHES = str.maketrans(dict.fromkeys("\\\u2044\u2215\u29f8\u29f5", "/"))
_SCHEME = re.compile(r"(?:^|[^a-z0-9+.@-])(?:webcals?|feeds?|icals?|ics|calendars?):")
_PUBLISHED = re.compile(r"/published/|\.(?:ics|ical|ifb|icalendar)(?:$|[?#/&;\"'<>)])")


def has_subscription_scheme(text: str) -> bool:
    """Tell whether a text names ``webcal:``, ``feed:``, ``ics:`` or the like as its scheme."""
    return _SCHEME.search(plain_address(text)) is not None


def is_subscription_address(text: str) -> bool:
    """Tell whether a text given for an account or a calendar is an address on the web instead.

    That is one with such a scheme, any other URL (an account is an e-mail address, never a URL),
    a file of calendar data, or a published calendar.
    """
    plain = plain_address(text)
    if _SCHEME.search(plain) or "://" in plain:
        return True
    return "/" in plain and _PUBLISHED.search(plain) is not None


def refuse_subscription_address(address: str) -> None:
    """Raise :class:`InvalidInput` ``calendar-subscribed`` for what is a calendar's address (R8)."""
    if is_subscription_address(address):
        raise InvalidInput(
            "This is the address of a published or subscribed calendar, not an iCloud account. "
            "Subscriptions cannot be connected; give the e-mail address of the Apple Account.",
            code="calendar-subscribed",
            pointer="/email",
        )


def plain_address(text: str) -> str:
    """Undo percent and HTML encoding, compatibility letters, blanks and invisible characters."""
    decoded = text[:_LONGEST]
    for _ in range(_DECODED_AT_MOST):
        decoded = html.unescape(unquote(decoded))
    return drop_invisible(unicodedata.normalize("NFKC", decoded).translate(_COLONS)).translate(
        _SLASHES
    )


_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Invisible, though their category says letter, mark or symbol."""


def drop_invisible(text: str) -> str:
    """Return the text in lower case without blanks, controls and characters nobody sees."""
    return "".join(
        letter
        for letter in text.lower()
        if unicodedata.category(letter)[0] not in "CZ"
        and letter not in _INVISIBLE
        and not _is_variation_selector(letter)
    )


def _is_variation_selector(letter: str) -> bool:
    return "\ufe00" <= letter <= "\ufe0f" or "\U000e0100" <= letter <= "\U000e01ef"
