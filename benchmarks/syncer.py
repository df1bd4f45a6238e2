"""One first sync in a process of its own; run by :mod:`benchmarks.first_sync`.

Connects, links the calendar "Home" and syncs with the gateway's own engine, then prints what the
sync took: CPU seconds and memory of this process and of its expansion worker. Given small accounts
too, its worker polls each of them every second all the while, and a heartbeat tells how late the
event loop is: before the first sync, when only idle polls go on, and during it.
"""

import asyncio
import json
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.heartbeat import Heartbeat
from gateway.cli.commands.setup import initialise
from gateway.cli.tuning import tune_interpreter
from gateway.observe import set_up_logging
from gateway.services.accounts.roles import set_calendar_roles
from gateway.settings import Settings
from gateway.store.access import principals
from gateway.store.accounts import accounts, calendars, leases
from gateway.store.accounts.accounts import Keyring
from gateway.store.engine import Database, Session
from gateway.store.threads import StoreThreads
from gateway.sync.connect import connect
from gateway.sync.context import SyncContext
from gateway.sync.scheduler import Worker

IDLE_S = 10.0


async def main(
    folder: Path, url: str, email: str, app_password: str, others: str = "[]"
) -> dict[str, object]:
    """Sync once and return what it took."""
    settings = Settings(
        data_dir=folder,
        upstream_url=url,
        upstream_allow_loopback=True,
        upstream_requests_per_minute=1_000_000,
        upstream_timeout_s=300,  # of 50,000 the look-alike thinks long on a busy machine
        poll_active_s=1,
    )
    initialise(settings)
    threads = StoreThreads(Database(settings.database))
    context = SyncContext(settings, threads, Keyring.load(settings.keyring))
    tune_interpreter()
    worker, stop = Worker(context, tick_s=0.1), asyncio.Event()
    connection_id = await _connected(context, email, app_password)
    small = [await _connected(context, *other) for other in json.loads(others)]
    for one in small:
        await worker.sync_now(one)
    polling = asyncio.create_task(worker.run(stop)) if small else None
    idle = await _beating(IDLE_S) if small else None
    before, began, at_start = _cpu_s(), time.perf_counter(), _memory("VmRSS")
    beat = Heartbeat().start() if small else None
    report = await worker.sync_now(connection_id)
    took = time.perf_counter() - began
    growth = _memory("VmHWM") - at_start
    apart = sum(_memory("VmHWM", pid) for pid in _children())
    if beat is not None:
        await beat.stop()
    stop.set()
    if polling is not None:
        await polling
    await context.close()
    threads.close()
    return {
        "objects": sum(calendar.changed for calendar in report.calendars),
        "problem": report.problem,
        "requests": report.requests,
        "cpu_s": _cpu_s() - before,
        "worker_cpu_s": resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime,
        "wall_s": took,
        "growth_mib": growth / 1024,
        "worker_mib": apart / 1024,
        "idle_p99_ms": 1000 * idle.percentile(0.99) if idle is not None else None,
        "busy_p99_ms": 1000 * beat.percentile(0.99) if beat is not None else None,
    }


async def _beating(seconds: float) -> Heartbeat:
    beat = Heartbeat().start()
    await asyncio.sleep(seconds)
    await beat.stop()
    return beat


async def _connected(context: SyncContext, email: str, app_password: str) -> str:
    """Connect an account that is in use all the time, so polled every ``poll_active_s``."""

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
        leases.note_active(session, [principal_id], until=context.now() + 86_400, due_at=2**40)
        accounts.update_connection(session, connection.id, next_sync_at=float(2**40))

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
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):
            found += [int(pid) for pid in (task / "children").read_text().split()]
    return found


def start() -> None:
    """Run with the arguments folder, URL, e-mail, app-specific password, small accounts."""
    set_up_logging(level="WARNING", style="console")
    print(json.dumps(asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))), flush=True)
