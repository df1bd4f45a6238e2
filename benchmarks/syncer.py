"""One first sync in a process of its own; run by :mod:`benchmarks.first_sync`.

Connects, links the calendar "Home" and syncs with the gateway's own engine, then prints what the
sync took: CPU seconds and memory of this process and of its expansion worker.
"""

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

from gateway.cli.setup import initialise
from gateway.observe import set_up_logging
from gateway.services.roles import set_calendar_roles
from gateway.settings import Settings
from gateway.store import calendars, principals
from gateway.store.accounts import Keyring
from gateway.store.engine import Database, Session
from gateway.store.threads import StoreThreads
from gateway.sync.account import sync_account
from gateway.sync.connect import connect
from gateway.sync.context import SyncContext


async def main(folder: Path, url: str, email: str, app_password: str) -> None:
    """Sync once and print one JSON line."""
    set_up_logging(level="WARNING", style="console")
    settings = Settings(
        data_dir=folder,
        upstream_url=url,
        upstream_allow_loopback=True,
        upstream_requests_per_minute=1_000_000,
    )
    initialise(settings)
    threads = StoreThreads(Database(settings.database))
    context = SyncContext(settings, threads, Keyring.load(settings.keyring))
    connection_id = await _connected(context, email, app_password)
    before, began, at_start = _cpu_s(), time.perf_counter(), _memory("VmRSS")
    report = await sync_account(context, connection_id)
    took = time.perf_counter() - began
    growth = _memory("VmHWM") - at_start
    worker = sum(_memory("VmHWM", pid) for pid in _children())
    await context.close()
    threads.close()
    found = {
        "objects": sum(calendar.changed for calendar in report.calendars),
        "problem": report.problem,
        "requests": report.requests,
        "cpu_s": _cpu_s() - before,
        "worker_cpu_s": resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime,
        "wall_s": took,
        "growth_mib": growth / 1024,
        "worker_mib": worker / 1024,
    }
    print(json.dumps(found), flush=True)


async def _connected(context: SyncContext, email: str, app_password: str) -> str:
    def person(session: Session) -> str:
        subaccount = principals.create_subaccount(session, name="Practice", now=context.now())
        return principals.create_principal(
            session,
            subaccount_id=subaccount.id,
            name="Anna Example",
            time_zone="Europe/Berlin",
            now=context.now(),
        ).id

    def link(session: Session) -> None:
        listed = calendars.list_calendars(session, connection.id)
        home = next(calendar for calendar in listed if calendar.name == "Home")
        set_calendar_roles(session, principal_id, linked=home.id, conflicts=[], now=context.now())

    principal_id = await context.store.write(person)
    connection = await connect(context, principal_id, email, app_password)
    await context.store.write(link)
    return connection.id


def _cpu_s() -> float:
    """CPU seconds of this process and its ended children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _memory(field: str, pid: int | str = "self") -> int:
    """Return a field of /proc/<pid>/status in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    return 0


def _children() -> list[int]:
    """Return the processes that the threads of this one started."""
    return [
        int(pid)
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]


def start() -> None:
    """Run with the arguments folder, URL, e-mail, app-specific password."""
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:5]))
