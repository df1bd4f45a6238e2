"""Why a push waits for a person: the reasons that stand in the ledger, and their texts."""

from gateway.core.appointments.reconcile import GUESTS
from gateway.core.errors import (
    GatewayError,
    UpstreamError,
    UpstreamForbidden,
    UpstreamPrecondition,
)
from gateway.store.outbox.outbox import OutboxMessage

REFUSALS_BEFORE_PARKING = 3
"""So often a body may be refused without a reason before a person has to look."""

_REFUSALS = frozenset(
    {"upstream-refused"}
    | {kind.default_code for kind in (UpstreamError, UpstreamForbidden, UpstreamPrecondition)}
)

_TEXTS = {
    GUESTS: "Somebody invited guests to this event in iCloud; changing it would mail them.",
    "linked-calendar-gone": "The calendar this appointment was pushed to is not in iCloud.",
    "upstream-refused": "iCloud refuses this event again and again without giving a reason.",
    "not-pushable": "This event cannot be written to iCloud.",
    "push-failed": (
        "The gateway itself failed over this event; its log says where. Retry it, or drop it."
    ),
}


class Parked(GatewayError):
    """The message needs a person; ``code`` is the reason."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__(detail or _TEXTS[reason], code=reason)


def is_refused_again(message: OutboxMessage) -> bool:
    """Whether one more refusal is one too many; attempts that ended otherwise are none."""
    return message.reason in _REFUSALS and message.attempts + 1 >= REFUSALS_BEFORE_PARKING
