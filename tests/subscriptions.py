"""Spellings of subscription addresses that every door is tried with (R8)."""

SCHEMES = (
    "webcal://p52-caldav.icloud.com/published/2/MTIz",
    "WebCal://example.org/feed",
    "WEBCAL:example.org/x",
    "  webcal:example.org/feed",
    "webcals://example.org/feed",
    "web\u200bcal://example.org/x",
    "\ufeffwebcal://example.org/x",
    "web cal://example.org/x",
    "webcal%3A%2F%2Fexample.org",
    "web%2563al:example.org",
    "webcal&#58;//example.org",
    "ｗｅｂｃａｌ：//example.org/x",
    "webcal\u2236//example.org",
    "webcal:\\\\example.org\\x",
    "<webcal://example.org/x>",
    "url=webcal://example.org/x",
    "webcal:ann@icloud.com",
    "feed://example.org/x",
    "feed:me@x.example",
    "FEEDS:https://example.org/x",
    "ics:example.org",
    "ical://example.org/x",
)
"""A scheme of subscriptions, however written."""

ADDRESSES = (
    *SCHEMES,
    "https://example.org/team.ics",
    "HTTPS://EXAMPLE.ORG/TEAM.ICS?x=1",
    "https:\\\\example.org\\team.ics",
    "example.org/calendars/team%2Eics",
    "https://p52-caldav.icloud.com/published/2/MTIz",
    "p52-caldav.icloud.com/published/2/MTIz",
    "https://example.org/calendar",
)
"""What is no account and no calendar of one, but an address on the web."""

ACCOUNTS = (
    "ann@icloud.com",
    " Ann+webcal@me.com ",
    "ics@webcal.org",
    "feed@example.org",
    "calendar@x.org",
    "team.ics@me.com",
    "mailto:ann@icloud.com",
)
"""Ordinary addresses that look a little like it."""
