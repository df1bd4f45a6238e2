"""Faults that strike any request: throttling, resets, slow and broken answers."""

from collections.abc import Callable

from gateway.lookalike.dav.answers import bare, html
from gateway.lookalike.dav.call import Answer, Call


def check_down(call: Call) -> Answer | None:
    """Drop the connection while the server is down."""
    return Answer(0, abort=True) if call.on("down") else None


def _throttle(call: Call) -> Answer | None:
    """Block an account; a request inside the block starts the block anew.

    Whoever waits just as long as Retry-After says comes too early, as observed in production.
    """
    switch = call.take("throttle")
    if switch is None:
        return None
    now, params, state = call.world.now(), switch.params, switch.state
    block = float(params.get("block", 30))
    blocks: dict[str, float] = state.setdefault("until", {})
    who = call.owner.email
    if now < blocks.get(who, float("-inf")) or _bursts(state, params, who, now):
        blocks[who] = now + block
        return _throttled(str(params.get("form", "503")), params.get("retry_after", 5))
    call.quirks.remove("throttle")
    return None


def _bursts(state: dict[str, object], params: dict[str, object], who: str, now: float) -> bool:
    burst = int(str(params.get("burst", 0)))
    if not burst:
        # at once, and only once: after the block the account is free
        return bool(state.setdefault(f"first:{who}", now) == now)
    window = float(str(params.get("window", 60)))
    seen = state.setdefault(f"seen:{who}", [])
    if not isinstance(seen, list):
        return False
    seen[:] = [time for time in seen if time > now - window] + [now]
    return len(seen) > burst


def _throttled(form: str, retry_after: object) -> Answer:
    if form == "html-502":
        return html(502)
    if form in ("503-bare", "403"):
        return bare(int(form[:3]))
    return bare(429 if form == "429" else 503).add_header("Retry-After", str(retry_after))


def _any_status(call: Call) -> Answer | None:
    return html(int(call.param("status", "code", 502))) if call.on("status") else None


def _calendar_error(call: Call) -> Answer | None:
    if call.calendar is None or not call.on("calendar-error"):
        return None
    return bare(int(call.param("calendar-error", "status", 500)))


def _reset_before(call: Call) -> Answer | None:
    if call.on("reset") and call.param("reset", "when", "before") == "before":
        return Answer(0, abort=True)
    return None


BEFORE: tuple[Callable[[Call], Answer | None], ...] = (
    _throttle,
    _any_status,
    _calendar_error,
    _reset_before,
)


def _reset_after(call: Call, answer: Answer) -> Answer:
    if call.param("reset", "when", "before") == "after":
        answer.abort = True
    return answer


def _slow(call: Call, answer: Answer) -> Answer:
    if call.on("slow"):
        answer.delay = float(call.param("slow", "by", 30))
    return answer


def _cut_body(call: Call, answer: Answer) -> Answer:
    if answer.body and call.on("cut-body"):
        half = len(answer.body) // 2
        if call.param("cut-body", "how", "clean") == "broken":
            answer.break_at = half
        else:
            answer.body = answer.body[:half]
    return answer


AFTER: tuple[Callable[[Call, Answer], Answer], ...] = (_reset_after, _slow, _cut_body)
