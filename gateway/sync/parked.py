"""Why a push waits for a person: the reasons that stand in the ledger, and their texts."""

from gateway.core.errors import GatewayError
from gateway.sync.own import GUESTS

_TEXTS = {
    GUESTS: "Somebody invited guests to this event in iCloud; changing it would mail them.",
    "linked-calendar-gone": "The calendar this appointment was pushed to is not in iCloud.",
    "upstream-refused": "iCloud refuses this event again and again without giving a reason.",
    "not-pushable": "This event cannot be written to iCloud.",
}


class Parked(GatewayError):
    """The errand needs a person; ``code`` is the reason."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__(detail or _TEXTS[reason], code=reason)
