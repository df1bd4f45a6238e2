"""Writes `docs/lookalike.md` from the code: ``python -m gateway.lookalike.page > docs/…``."""

import sys
from collections.abc import Iterable

from gateway.lookalike.control import actions, edits
from gateway.lookalike.control.control import ACTIONS
from gateway.lookalike.world.fixtures import FIXTURES
from gateway.lookalike.world.quirks import QUIRKS, Quirk

_REGISTERED = (actions, edits)

_INTRODUCTION = """\
# The look-alike

An imitation of iCloud's CalDAV service on the loopback interface: for the demo, for the tests of
this project, and for everybody who develops against iCloud and cannot ask Apple for a sandbox. It
proves nothing by itself (it is built from what people have reported of iCloud, and nothing of it
was measured by Apple), so a client should be tested against other servers too.

This page is generated from `gateway/lookalike` by `python -m gateway.lookalike.page`; do not edit.

## Using it

    gateway lookalike --port 8123

starts it with demo accounts and prints the addresses and the app-specific passwords
(`--no-seed` starts it empty, `--keep FILE` goes on where it stopped). Sign in with Basic:

    curl -u robin@example.com:xxxx-xxxx-xxxx-xxxx -X PROPFIND -H 'Depth: 0' \\
      -d '<d:propfind xmlns:d="DAV:"><d:prop><d:current-user-principal/></d:prop></d:propfind>' \\
      http://127.0.0.1:8123/

Discovery leads to a calendar home on another host and port, as with iCloud; the entry address
serves every later request too. In Python:

    from gateway.lookalike.server import Lookalike

    async with Lookalike(seed=True) as server:       # in the same process, server.world is open
        server.world.faults.set("lag", "robin@example.com", after=5, times=3)

    from gateway.lookalike.client import LookalikeControl

    async with LookalikeControl(url) as control:     # from another process
        await control.put("robin@example.com", "work", ics_bytes)
        log = await control.log("robin@example.com")

The clock is real or virtual (`Lookalike(now=…, sleep=…)`), and the action `advance` moves it.

## Each account has

`home` (shared out to somebody), `work`, a read-only and a writable calendar shared in by somebody
else, a subscription, a reminders list, `inbox`, `outbox` and `notification`. Objects are kept and
served as raw bytes; only PUT rewrites what it is given.
"""

_QUIRK_HEAD = """\
## Behaviours

The row number is that of the project's list of what has been reported of iCloud; tests cite it. A
*default* is always on (a switch with `off` turns it off), a *fault* is off until it is set, a
*variant* has been seen in the wild in another form than the default.

A switch is set with the action `set-fault` (or `world.faults.set`): `quirk`, optionally `account`,
`calendar`, `method` and `path` (a part of it) to narrow it, `times` (so many requests), `skip` (not
the first so many) and `seconds` (on the look-alike's clock) to limit it, and its own parameters.

| row | name | kind | behaviour | parameters | brought about by |
|---|---|---|---|---|---|
"""

_ACTION_HEAD = """\
## Control actions

`POST /_control/ACTION` on the entry address with a JSON object, or `GET` with a query for actions
that need only texts; answers are JSON. A question mark marks what may be left out. An account is
its e-mail, a calendar its id or display name.

| action | arguments and effect |
|---|---|
"""

_FIXTURE_HEAD = """\
## Fixtures

Odd but real events for the action `put-fixtures`, each on a day of its own, two days apart, from
the Monday after the look-alike's present day on; an hour from 10:00 in Europe/Berlin unless said
otherwise.

| fixture | what it is | how it counts |
|---|---|---|
"""

_LOG = """\
## The log

The action `log` (or `world.journal`) tells every request in order: `seq`, `time`, `account`,
`listener` (`entry` or the partition), `method`, `path`, `depth`, `status` (0 when the connection
was dropped), `report`, `calendar`, `body_size` and, for writes, `body_sha256`, `answer_size`,
`if_match`, `if_none_match`, the switches that acted (`quirks`), and `short`, which is made for
comparing the order: `PROPFIND`, `REPORT sync-collection`, `PUT`. `mails` and `notifications` count
what the server sent to guests and to other sharees.
"""


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _quirk_row(quirk: Quirk) -> str:
    params = "; ".join(f"`{name}`: {text}" for name, text in quirk.params.items())
    return _row(str(quirk.row), f"`{quirk.name}`", quirk.kind, quirk.text, params, quirk.trigger)


def _action_rows() -> Iterable[str]:
    for name, function in sorted(ACTIONS.items()):
        yield _row(f"`{name}`", " ".join((function.__doc__ or "").split()))


def render_page() -> str:
    """Return the whole page; a test compares it with the file."""
    parts = [_INTRODUCTION, "\n", _QUIRK_HEAD, *map(_quirk_row, QUIRKS), "\n", _ACTION_HEAD]
    parts += [*_action_rows(), "\n", _FIXTURE_HEAD]
    parts += [_row(f"`{one.name}`", one.text, one.counts) for one in FIXTURES]
    return "".join([*parts, "\n", _LOG])


if __name__ == "__main__":
    sys.stdout.write(render_page())
