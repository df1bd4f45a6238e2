"""The error tree of the gateway.

Every error carries a stable ``code`` (the one callers branch on), a sentence for a person, and
says whether the same call may succeed later (``retryable``). No class here knows HTTP: the API
and the CalDAV face translate, each in one place.

::

    GatewayError
    ├── Refused                       the caller must change something
    │   ├── InvalidInput              the request itself is wrong (pointer says where)
    │   │   └── InvalidCalendarData   an iCalendar body that cannot be used
    │   ├── NotAllowed                known caller, forbidden act
    │   │   └── CalendarStays         of the calendars only local ones can be deleted
    │   ├── NotAuthenticated          unknown caller
    │   ├── NotFound                  no such thing for this caller
    │   │   └── ReferenceNotFound     the body names it (pointer says where)
    │   ├── OverQuota                 more than is kept for one person or calendar
    │   └── StateConflict             collides with what is already there
    │       ├── SlotTaken             the time is busy or held
    │       └── UidTaken              another object of the calendar has this UID
    ├── UpstreamError                 iCloud did not do what was asked
    │   ├── VerificationFailed        what blocks could not be read before booking
    │   ├── UpstreamUnreachable       no answer, broken answer, 5xx      (retryable)
    │   ├── UpstreamThrottled         429 or 503 with Retry-After        (retryable)
    │   ├── CredentialRejected        401: wrong or revoked password
    │   ├── UpstreamForbidden         403
    │   ├── UpstreamNotFound          404 or 410
    │   ├── UpstreamPrecondition      412
    │   ├── SyncTokenExpired          the sync token is not accepted any more
    │   └── NotICloud                 the answer is not that of a CalDAV server we know
    ├── RunCrashed                    a run over one account did not end, through our own fault
    ├── CannotListen                  an address to listen at is taken or not ours
    └── StoreError
        ├── StoreBusy                 locked or unreachable database     (retryable)
        ├── StoreFull                 no space left
        ├── SecretUnreadable          one stored secret cannot be decrypted
        ├── SchemaMismatch            an older, newer, edited or foreign schema
        └── KeyMismatch               the key file is not there, damaged or of another database
"""

import errno
from typing import ClassVar


class GatewayError(Exception):
    """Root of all errors raised on purpose; ``str(error)`` is a sentence for a person."""

    default_code: ClassVar[str] = "internal-error"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code


class Refused(GatewayError):
    """The caller must change something before the same request can work."""

    default_code = "refused"


class InvalidInput(Refused):
    """The request is wrong; ``pointer`` is a JSON pointer to the culprit where there is one."""

    default_code = "invalid-request"

    def __init__(self, detail: str, *, code: str | None = None, pointer: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.pointer = pointer


class InvalidCalendarData(InvalidInput):
    """An iCalendar body that cannot be used (RFC 4791 5.3.2.1 ``valid-calendar-data``)."""

    default_code = "valid-calendar-data"


class NotAuthenticated(Refused):
    """No or unknown credentials."""

    default_code = "unauthenticated"


class NotAllowed(Refused):
    """The caller is known, the act is forbidden to it."""

    default_code = "forbidden"


class CalendarStays(NotAllowed):
    """A calendar that is the gateway's own cannot be deleted (R18); its home is named."""

    default_code = "calendar-stays"

    def __init__(self, detail: str, *, principal_id: str) -> None:
        super().__init__(detail)
        self.principal_id = principal_id


class OverQuota(Refused):
    """More than is kept for one person or one calendar; something has to go first."""

    default_code = "over-quota"


class NotFound(Refused):
    """There is no such thing, or it belongs to somebody else."""

    default_code = "not-found"


class ReferenceNotFound(NotFound):
    """The body names something that is not there for this caller; ``pointer`` says where."""

    def __init__(self, detail: str, *, pointer: str) -> None:
        super().__init__(detail)
        self.pointer = pointer


class StateConflict(Refused):
    """The request collides with what is already there."""

    default_code = "conflict"


class PassingConflict(StateConflict):
    """A collision that passes by itself: the same request may do better later (R29).

    ``retry_after_s`` is how many seconds that takes at most, None when nobody knows.
    """

    retryable = True

    def __init__(
        self, detail: str, *, code: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(detail, code=code)
        self.retry_after_s = retry_after_s


class ExternalIdTaken(StateConflict):
    """An appointment of this subaccount has that ``external_id`` already (R35)."""

    default_code = "external-id-taken"

    def __init__(self, detail: str, *, appointment_id: str) -> None:
        super().__init__(detail)
        self.appointment_id = appointment_id


class UidTaken(StateConflict):
    """A calendar holds a UID once (RFC 4791 5.3.2.1); the member that has it is named."""

    default_code = "no-uid-conflict"

    def __init__(self, detail: str, *, principal_id: str, calendar: str, name: str) -> None:
        super().__init__(detail)
        self.principal_id = principal_id
        self.calendar = calendar
        self.name = name


class TooManyRequests(Refused):
    """The caller asked too often; ``retry_after_s`` seconds from now the count begins anew."""

    default_code = "rate-limited"
    retryable = True

    def __init__(self, detail: str, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class SlotTaken(StateConflict):
    """The time is busy or held (R27); ``next_free`` are the next gaps that are long enough.

    Pairs of UTC epoch seconds, soonest first.
    """

    default_code = "slot-taken"

    def __init__(self, detail: str, *, next_free: tuple[tuple[int, int], ...] = ()) -> None:
        super().__init__(detail)
        self.next_free = next_free


class UpstreamError(GatewayError):
    """iCloud (or whatever stands upstream) did not do what was asked.

    ``status`` is the HTTP status, or None when there was no answer; ``request_id`` is the
    value of ``X-Apple-Request-UUID`` where one came.
    """

    default_code = "upstream-error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail, code=code)
        self.status = status
        self.request_id = request_id


class VerificationFailed(UpstreamError):
    """iCloud had to be asked before booking, and not all that blocks could be read (R28).

    ``calendars`` are (id, name, reason) of those that could not; none when the account could not
    be asked at all. ``reason`` is the code of the first matter.
    """

    default_code = "verification-failed"

    def __init__(
        self, detail: str, *, reason: str, calendars: tuple[tuple[str, str, str], ...] = ()
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.calendars = calendars


class UpstreamUnreachable(UpstreamError):
    """No answer, a broken answer or a server error; trying again later may help."""

    default_code = "upstream-unreachable"
    retryable = True


class UpstreamThrottled(UpstreamError):
    """The account is throttled; ``retry_after_s`` is what the server asked for, often too short."""

    default_code = "upstream-throttled"
    retryable = True

    def __init__(
        self, detail: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(detail, status=status)
        self.retry_after_s = retry_after_s


class CredentialRejected(UpstreamError):
    """401: the password is wrong or revoked, Calendar is off, or the address is an alias."""

    default_code = "credential-rejected"


class UpstreamForbidden(UpstreamError):
    """403 upstream."""

    default_code = "upstream-forbidden"


class UpstreamNotFound(UpstreamError):
    """404 or 410 upstream. For a PUT it means the body was disliked, not that a thing vanished."""

    default_code = "upstream-not-found"


class UpstreamPrecondition(UpstreamError):
    """412 upstream: somebody else changed the object, or its UID or name is taken."""

    default_code = "upstream-precondition"


class SyncTokenExpired(UpstreamError):
    """The sync token is refused; a full listing is due (iCloud reference section 4)."""

    default_code = "sync-token-expired"
    retryable = True


class NotICloud(UpstreamError):
    """The answers are not those of a CalDAV server with a calendar home."""

    default_code = "not-icloud"


class RunCrashed(GatewayError):
    """A run over one account, or one thing in it, ended by an error nobody had foreseen."""

    default_code = "run-crashed"


class CannotListen(GatewayError):
    """An address to listen at is taken, or is none of this machine."""

    default_code = "address-unusable"

    @classmethod
    def at(cls, address: str, setting: str, error: OSError) -> "CannotListen":
        """Say it for a failed bind of ``address``, which ``setting`` names."""
        if error.errno == errno.EADDRINUSE:
            return cls(
                f"{address} is taken by another program; end that one, or name another address in"
                f" {setting}.",
                code="address-taken",
            )
        why = (error.strerror or str(error)).split("[Errno")[0].strip(" :")
        return cls(f"Nothing can listen at {address} ({why}); name another address in {setting}.")


class StoreError(GatewayError):
    """The database refused; ``cause`` is for the log and for people at the machine only."""

    default_code = "store-error"

    def __init__(self, detail: str, *, code: str | None = None, cause: str = "") -> None:
        super().__init__(detail, code=code)
        self.cause = cause


class StoreBusy(StoreError):
    """The database is locked or unreachable; nothing was changed."""

    default_code = "store-busy"
    retryable = True


class StoreFull(StoreError):
    """No space left for the database; nothing was changed."""

    default_code = "store-full"


class SchemaMismatch(StoreError):
    """The database's schema is not the one this program needs; nothing was written (R45)."""

    default_code = "schema-edited"


class KeyMismatch(StoreError):
    """The key file is missing, damaged, or not that of this database; nothing was written (R45)."""

    default_code = "key-foreign"


class SecretUnreadable(StoreError):
    """One stored secret cannot be decrypted (R45): that account's problem and nobody else's.

    Rows are damaged one by one, a missing or foreign key file is found at start: so whoever hears
    this can mend it by entering the account's credential anew.
    """

    default_code = "secret-unreadable"


class ScheduleUnreadable(StoreError):
    """The stored rules of one schedule are damaged: that schedule's problem and nobody else's."""

    default_code = "schedule-unreadable"
