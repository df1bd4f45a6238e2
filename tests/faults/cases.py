"""Every fault of the look-alike in the forms that are tried, and what a person is told of each."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.upstream.fences import fenced_wire
from tests.faults.person import Person

STAGES = ("first sync", "idle", "incremental", "push pending")

TIMEOUT_S = 0.2
"""After which a slow answer is given up, in real seconds."""


@dataclass(frozen=True)
class Case:
    """One form of one quirk; ``told`` are the codes a person sees while it lasts, by stage."""

    quirk: str
    params: dict[str, Any] = field(default_factory=dict)
    narrow: dict[str, Any] = field(default_factory=dict)
    start: Callable[[Person], Awaitable[None]] | None = None
    end: Callable[[Person], Awaitable[None]] | None = None
    stages: tuple[str, ...] = STAGES
    told: dict[str, set[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        more = [str(value) for value in (*self.params.values(), *self.narrow.values())]
        return "-".join([self.quirk, *more])

    async def begin(self, person: Person) -> None:
        if self.start is not None:
            await self.start(person)
        else:
            person.fault(self.quirk, **self.narrow, **self.params)

    async def finish(self, person: Person) -> None:
        if self.end is not None:
            await self.end(person)
        person.server.world.faults.clear(self.quirk)


def move_partition(how: str) -> Callable[[Person], Awaitable[None]]:
    """The account moves; what refuses at the old partition does so for good."""

    async def move(person: Person) -> None:
        person.account.move_partition(refuse=how)

    return move


async def lose_patience(person: Person) -> None:
    """Give up soon on slow answers, and let all be slow."""
    settings = person.context.settings.model_copy(update={"upstream_timeout_s": TIMEOUT_S})
    await person.context.wire.close()
    person.context.wire = fenced_wire(settings)
    person.fault("slow")


async def find_patience(person: Person) -> None:
    await person.context.wire.close()
    person.context.wire = fenced_wire(person.context.settings)


def told(always: str = "", **stages: str) -> dict[str, set[str]]:
    """Codes by stage (blanks as underscores): what is always told unless a stage says more."""
    return {stage: set(stages.get(stage.replace(" ", "_"), always).split()) for stage in STAGES}


UNREACHABLE = told("upstream-unreachable")
UNREAD = told("upstream-unreachable", idle="")
THROTTLED = told("upstream-throttled")
FORBIDDEN = told("upstream-forbidden", push_pending="upstream-forbidden upstream-refused")
REJECTED = told("credential-rejected credential-revoked")
LATE = told("catching-up", idle="")
LATER = LATE | {"push pending": {"catching-up", "incomplete-answer"}}
REFUSED_412 = told(push_pending="upstream-precondition upstream-refused")
PUSHING = ("push pending",)

CASES = [
    Case("partition-moved", {"refuse": "401"}, start=move_partition("401")),
    Case("partition-moved", {"refuse": "404"}, start=move_partition("404")),
    Case("partition-moved", {"refuse": "connect"}, start=move_partition("connect")),
    Case("empty-propstat-status"),
    Case("calendar-switched-off", told=REJECTED),
    Case("calendar-error", {"status": 403}, told=FORBIDDEN | {"idle": set()}),
    Case("calendar-error", {"status": 500}, {"calendar": "home"}, told=UNREAD),
    Case("sync-truncated", {"limit": 3}),
    Case("sync-empty"),
    Case("lag", {"after": 5}, told=LATE),
    Case("lag", {"after": 900}, told=LATER),
    Case("ghost", {}, {"seconds": 600}, told=LATER),
    Case("multiget-fewer"),
    Case("multiget-fewer", {"keep": 0}),
    Case("old-range-403"),
    Case("etag-drift", told=REFUSED_412),
    Case("put-412", stages=PUSHING, told=REFUSED_412),
    Case("throttle", {"form": "503", "block": 600}, told=THROTTLED),
    Case("throttle", {"form": "503-bare", "block": 600}, told=THROTTLED),
    Case("throttle", {"form": "429", "block": 600}, told=THROTTLED),
    Case("throttle", {"form": "html-502", "block": 600}, told=UNREACHABLE),
    Case("throttle", {"form": "403", "block": 600}, told=FORBIDDEN),
    Case("throttle", {"burst": 3, "block": 90}, told=THROTTLED | {"idle": set()}),
    Case("reset", {"when": "before"}, told=UNREACHABLE),
    Case("reset", {"when": "after"}, told=UNREACHABLE),
    Case("reset", {"when": "after"}, {"method": "PUT"}, stages=PUSHING, told=UNREACHABLE),
    Case("reset", {"when": "after"}, {"method": "DELETE"}, stages=PUSHING, told=UNREACHABLE),
    Case("slow", start=lose_patience, end=find_patience, told=UNREACHABLE),
    Case("cut-body", {"how": "clean"}, told=UNREACHABLE),
    Case("cut-body", {"how": "broken"}, told=UNREACHABLE),
    Case("status", {"code": 403}, told=FORBIDDEN),
    Case(
        "status",
        {"code": 404},
        told=told("not-icloud", push_pending="not-icloud upstream-not-found"),
    ),
    Case("status", {"code": 502}, told=UNREACHABLE),
    Case(
        "status",
        {"code": 404},
        {"method": "PUT"},
        stages=PUSHING,
        told=told(push_pending="upstream-refused"),
    ),
    Case("status", {"code": 507}, {"method": "PUT"}, stages=PUSHING, told=UNREACHABLE),
    Case("down", told=UNREACHABLE),
    Case("empty-multistatus", told=UNREAD),
]
