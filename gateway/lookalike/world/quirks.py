"""The registry of every imitated behaviour; `docs/lookalike.md` is written from it.

``row`` is the number of the behaviour in the list this project keeps of what has been seen of
iCloud (`docs/lookalike.md`, first column). Kinds: a *default* is always on and can be switched
off, a *fault* is off until a switch names it, a *variant* exists in the wild in both forms.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

QuirkKind = Literal["default", "fault", "variant"]


@dataclass(frozen=True)
class Quirk:
    """One behaviour: its row, its name for switches, and what it does to whom."""

    row: int
    name: str
    kind: QuirkKind
    text: str
    params: Mapping[str, str] = field(default_factory=dict)
    trigger: str = ""
    """How it is brought about when not by a switch of this name."""


def _default(row: int, name: str, text: str, trigger: str = "", **params: str) -> Quirk:
    return Quirk(row, name, "default", text, params, trigger)


def _fault(row: int, name: str, text: str, trigger: str = "", **params: str) -> Quirk:
    return Quirk(row, name, "fault", text, params, trigger)


def _variant(row: int, name: str, text: str, trigger: str = "", **params: str) -> Quirk:
    return Quirk(row, name, "variant", text, params, trigger)


QUIRKS: tuple[Quirk, ...] = (
    _default(
        1,
        "discovery-in-place",
        "`/.well-known/caldav` and `/` answer 207 in place; the href is the principal's, "
        "`/<DSID>/principal/`, not the requested one. Off: the requested path is the href.",
    ),
    _variant(
        1,
        "discovery-form",
        "Discovery answers in another form.",
        form="`root-href` (href is `/`), `301`, `302`, `307` or `308` (to the partition host)",
    ),
    _default(
        2,
        "absolute-home-set",
        "`calendar-home-set` is an absolute URL naming another host and port; all later hrefs are "
        "bare paths. Off: the home-set is a bare path too.",
    ),
    _fault(
        3,
        "partition-moved",
        "The account moves to another partition: the home-set names the new one, the old one "
        "refuses. The entry host goes on serving the account.",
        "action `move-partition` with `refuse` = `401`, `404` or `connect`",
    ),
    _default(
        4,
        "no-principal-on-calendar",
        "`current-user-principal` on a calendar is an empty element in a 404 propstat.",
    ),
    _default(
        5,
        "cdata",
        "`calendar-data` is CDATA. Default namespaces are declared again on every element, "
        "attributes of `comp` are in single quotes, properties that do not exist are empty "
        "elements in a 404 propstat. Off: escaped text.",
    ),
    _fault(5, "empty-propstat-status", "The status of 404 propstats is an empty string."),
    _default(
        6,
        "two-challenges",
        "401 has an empty body and two challenges, `Basic` and `X-MobileMe-AuthToken`, both with "
        "realm `MMCalDav`, and the partition header when the user is known. Only Basic with an "
        "active app-specific password is accepted; aliases are refused. Off: Basic only.",
    ),
    _variant(6, "joined-challenges", "Both challenges come in one header, the token scheme first."),
    _variant(6, "unknown-user-403", "An unknown user name is answered with 403."),
    _fault(
        7,
        "calendar-switched-off",
        "401 in spite of a good password, as when Calendar is switched off for the account. "
        "Revoked passwords do the same for good.",
        "actions `revoke` and `issue-password`",
    ),
    _default(8, "user-agent-required", "A request without User-Agent is answered with 403."),
    _default(8, "delete-depth", "DELETE with a Depth other than `infinity` is answered with 400."),
    _default(8, "leading-blanks", "White space before `<?xml` is answered with 400."),
    _default(
        8,
        "mixed-prefixes",
        "An XML body with a prefixed root and default-namespace children is answered with 400.",
    ),
    _default(9, "get-root-400", "`GET /` is answered with 400 and an empty body."),
    _default(
        10,
        "home-contents",
        "The home lists itself, calendars, one that is shared out, two that are shared in (64-hex "
        "id, no component set), one of them read-only (only the `read` privilege), a reminders "
        "list (VTODO only), inbox, outbox, notification. Off: the home does not list itself.",
    ),
    _default(
        11,
        "subscription-empty",
        "A subscription has the type `subscribed`, the component VEVENT and a `webcal:` source; "
        "reports on it answer an empty 207.",
    ),
    _variant(11, "subscription-with-calendar", "Subscriptions have the type `calendar` too."),
    _variant(11, "subscription-without-source", "The source of subscriptions is missing."),
    _fault(
        12,
        "calendar-error",
        "One collection fails while the others work.",
        status="403 or 500 (default 500)",
    ),
    _default(
        13,
        "self-entry",
        "sync-collection lists the collection itself, with a final slash and, at every other "
        "revision, without. No bodies; removed members have the status 404.",
        form="`slash`, `no-slash` or `alternate` (default)",
    ),
    _default(
        13,
        "duplicate-hrefs",
        "From three members on, sync-collection lists the first one twice.",
    ),
    _variant(
        13,
        "passed-untold",
        "sync-collection says nothing of a member that came and went since the token, as RFC 6578 "
        "section 3.5.2 allows.",
    ),
    _variant(13, "token-is-ctag", "The sync-token has the same text as the ctag (older accounts)."),
    _fault(
        13,
        "sync-truncated",
        "sync-collection is truncated with a 507 for the collection (RFC 6578 section 3.6).",
        limit="members per answer (default 50)",
    ),
    _fault(
        13,
        "sync-empty",
        "sync-collection answers with the new token and without the rows that came before it.",
    ),
    _default(
        14,
        "expired-token",
        "A token that is foreign, dropped or too old is answered with a bare 403.",
        "action `drop-tokens`, or the quirk `token-lifetime`",
    ),
    _variant(
        14,
        "token-lifetime",
        "Changes older than this are forgotten, and with them the tokens before them.",
        age="seconds (default 86,400)",
    ),
    _variant(
        14,
        "token-refusal",
        "The answer to an expired token has another form.",
        form="`element` (403 with `valid-sync-token`), `412` or `410`",
    ),
    _fault(
        15,
        "lag",
        "What was written is listed at once, but reading it gives 404 (new) or the former body "
        "and ETag (changed) for a while.",
        after="seconds since the write (default 5)",
    ),
    _fault(
        15,
        "ghost",
        "Some members are listed for good and never handed over: reading one gives an error.",
        member="its name, or several with commas between (default: every member)",
        status="of its row and of a GET (default 404); 0: not a word in multiget, 404 to a GET",
        listed="`error`: sync-collection and listings give its row that status too",
    ),
    _fault(
        16,
        "multiget-fewer",
        "multiget leaves members out of its answer without a word.",
        keep="how many are answered (default: half of them)",
    ),
    _default(
        16,
        "multiget-limit",
        "multiget mixes 404 with found members; more than 200 hrefs are answered with 403.",
        max="hrefs per request (default 200)",
    ),
    _default(
        17,
        "query-needs-component",
        "calendar-query without an inner comp-filter is answered with 500; with VEVENT and VTODO "
        "together it finds nothing.",
    ),
    _default(17, "prop-filter-412", "calendar-query with a prop-filter is answered with 412."),
    _default(
        17,
        "partial-data-empty",
        "`calendar-data` asked for in parts gives VEVENTs without content.",
    ),
    _default(17, "free-busy-400", "free-busy-query is answered with 400."),
    _fault(
        17,
        "old-range-403",
        "A time range that reaches back too far is answered with 403.",
        days="how far back is allowed (default 365)",
    ),
    _default(
        18,
        "expand-ignored",
        "`expand` is ignored: masters come with their rules. A time range finds masters that began "
        "long before it, and more of them than needed.",
    ),
    _variant(18, "expand-empty", "A query with `expand` finds nothing."),
    _default(
        19,
        "reserialise",
        "What is stored differs from what was sent: properties are added, sorted and folded anew. "
        "Off: the bytes are kept.",
    ),
    _default(
        19,
        "put-etag-missing",
        "Now and then the answer to a PUT has no ETag.",
        every="every so many-th PUT of an account (default 4; 1: always; 0: never)",
    ),
    _fault(
        20,
        "etag-drift",
        "The ETag of an object changes just before a request names it, nobody having edited it.",
        "action `drift` does it once",
    ),
    _fault(20, "put-412", "PUT is answered with 412 and no error body, unconditional ones too."),
    _default(
        21,
        "unique-uid",
        "A UID that another calendar of the account holds is answered with 412. The holder can be "
        "invisible.",
        "action `hold-uid` makes an invisible holder",
    ),
    _default(21, "tombstones", "A name or UID that was deleted before is answered with 412."),
    _default(
        22,
        "bad-body",
        "PUT is answered with 404 for a missing DTEND, HTML in DESCRIPTION or a UID of 64 "
        "characters or more; with 400 for mixed value types or an undefined TZID; with 403 for a "
        "bad STATUS, METHOD, stamps that are not UTC, timed VTODOs, or a malformed body.",
    ),
    _default(23, "weekly-needs-byday", "A WEEKLY rule without BYDAY is silently lost."),
    _default(
        24,
        "mails-guests",
        "PUT with ATTENDEEs and DELETE of such an object make the server mail the guests; the "
        "stored copy gains SCHEDULE-STATUS. SCHEDULE-AGENT=CLIENT or NONE prevents it.",
    ),
    _default(
        25,
        "sharee-notifications",
        "Creating and deleting in a shared calendar notifies everybody else who shares it.",
    ),
    _default(26, "delete-unlinks", "DELETE on a shared-in collection unlinks the share, unasked."),
    _default(27, "mkcalendar-403", "MKCALENDAR and MKCOL are answered with 403. Off: 201."),
    _default(27, "move-412", "MOVE and COPY are answered with 412."),
    _default(
        27, "if-match-star-412", "`If-Match: *` is answered with 412 though the object exists."
    ),
    _variant(
        27,
        "delete-honours-etag",
        "DELETE obeys If-Match. Without it a DELETE with a wrong ETag succeeds.",
    ),
    _fault(
        28,
        "throttle",
        "The account is blocked for longer than Retry-After says; a request that comes before the "
        "end of the block starts it anew.",
        block="seconds of the block (default 30)",
        retry_after="seconds told (default 5)",
        burst="requests within `window` that set it off (default 0: at once)",
        window="seconds (default 60)",
        form="`503`, `503-bare` (no Retry-After), `429`, `html-502` or `403`",
    ),
    _default(
        29,
        "idle-close",
        "Idle connections are closed after 30 seconds (our figure).",
        "argument `keepalive` of `Lookalike`",
    ),
    _fault(
        29,
        "reset",
        "The connection is dropped without an answer.",
        when="`before` the request took effect (default) or `after`",
    ),
    _fault(
        29,
        "slow",
        "The answer comes late; the request has taken effect long before.",
        by="seconds (default 30)",
    ),
    _fault(
        29,
        "cut-body",
        "The body of the answer ends in the middle.",
        how="`clean` (default: the length is right) or `broken` (the connection is dropped)",
    ),
    _fault(
        29,
        "status",
        "Any status with a small HTML page, as the edge in front of iCloud gives.",
        code="status (default 502)",
    ),
    _fault(
        29,
        "down",
        "The whole server drops every connection.",
        "actions `stop` and `start`",
    ),
    _fault(30, "empty-multistatus", "207 without any response where there was something."),
    _default(
        31,
        "fixtures",
        "Odd but real events are in the demo calendars and can be put anywhere.",
        "action `put-fixtures`",
    ),
    _default(
        32,
        "eight-digit-colours",
        "`calendar-color` has eight digits and a `symbolic-color`; calendar ids are `home`, `work` "
        "or upper-case UUIDs. Off: six digits.",
    ),
    _variant(32, "null-ctag", "getctag is an empty element in the 200 propstat."),
    _variant(32, "escaped-at", "`@` comes back percent-encoded in hrefs."),
    _default(
        33,
        "organizer-path",
        "ORGANIZER of events made on Apple's devices is an absolute principal path.",
        "fixture `organizer-path`, action `add-guests`",
    ),
    _default(
        34, "allprop-refused", "PROPFIND with allprop, propname or no body is answered with 400."
    ),
)

BY_NAME: Mapping[str, Quirk] = {quirk.name: quirk for quirk in QUIRKS}
