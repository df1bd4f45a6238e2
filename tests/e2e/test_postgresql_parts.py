"""The parts as separate processes on PostgreSQL: the CalDAV role cannot read the secrets."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
import sqlalchemy

from gateway.lookalike.client import LookalikeControl
from gateway.store.engine import Database
from tests.e2e.conftest import Installation, Process, plain_environment, run_gateway
from tests.e2e.person import HOUR, event, eventually, make_person
from tests.e2e.test_whole_path import TOMORROW


@pytest.fixture(scope="module")
def parts(
    tmp_path_factory: pytest.TempPathFactory, postgresql_url: str
) -> Iterator[tuple[Installation, Process, dict[str, Process]]]:
    """api, two workers and caldav on one database; caldav has a role of its own and no key."""
    folder = tmp_path_factory.mktemp("parts")
    name = f"parts_{uuid4().hex[:8]}"
    role = f"caldav_{uuid4().hex[:8]}"
    server = sqlalchemy.create_engine(
        sqlalchemy.make_url(postgresql_url).set(drivername="postgresql+psycopg"),
        isolation_level="AUTOCOMMIT",
    )
    url = sqlalchemy.make_url(postgresql_url).set(database=name)
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    database = Database(url.render_as_string(hide_password=False))
    with database.write() as session:  # what docker/roles.sh does
        session.exec_driver_sql(f"GRANT USAGE ON SCHEMA public TO {role}")
        session.exec_driver_sql(
            f"ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}"
        )
        session.exec_driver_sql(f"ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO {role}")
    database.close()
    lookalike = Process(["lookalike", "--no-seed"], plain_environment())
    common = {
        "GATEWAY_UPSTREAM_URL": lookalike.ready["url"],
        "GATEWAY_UPSTREAM_ALLOW_LOOPBACK": "true",
        "GATEWAY_API_BIND": "127.0.0.1:0",
        "GATEWAY_CALDAV_BIND": "127.0.0.1:0",
        "GATEWAY_POLL_ACTIVE_S": "1",
        "GATEWAY_POLL_IDLE_S": "1",
        "GATEWAY_UPSTREAM_REQUESTS_PER_MINUTE": "6000",
        "GATEWAY_LOG_LEVEL": "WARNING",
    }
    holder = plain_environment(
        **common,
        GATEWAY_DATA_DIR=str(folder / "holder"),
        GATEWAY_DATABASE_URL=url.render_as_string(hide_password=False),
    )
    own = url.set(username=role, password="x").render_as_string(hide_password=False)
    keyless = plain_environment(
        **common, GATEWAY_DATA_DIR=str(folder / "keyless"), GATEWAY_DATABASE_URL=own
    )
    code, made, problem = run_gateway("init", environment=holder)
    assert code == 0, problem
    running = {
        "api": Process(["api"], holder),
        "caldav": Process(["caldav"], keyless),
        "worker 1": Process(["worker"], holder),
        "worker 2": Process(["worker"], holder),
    }
    front = running["api"]
    front.ready["caldav"] = running["caldav"].ready["caldav"]
    yield Installation(folder, holder, made["admin_key"], lookalike, front), lookalike, running
    for process in (*running.values(), lookalike):
        process.stop()
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        connection.exec_driver_sql(f"DROP ROLE {role}")
    server.dispose()


@pytest.mark.rule("R9", "R13", "R20")
async def test_the_parts_do_the_whole_job_together(
    parts: tuple[Installation, Process, dict[str, Process]], http: aiohttp.ClientSession
) -> None:
    installation, lookalike, _ = parts
    async with LookalikeControl(lookalike.ready["url"]) as phone:
        person = await make_person(installation, http, phone)
        await person.connect()
        await person.choose("Home", "Work")
        await phone.put(person.email, "work", event(TOMORROW))

        async def shows() -> bool:
            return await person.is_busy(TOMORROW, TOMORROW + HOUR)

        async def arrived() -> bool:
            return bool((await person.names_upstream())["Home"])

        await eventually(shows)
        status, _ = await person.dav(
            "PUT", f"platform/{uuid4()}.ics", event(TOMORROW + 5 * HOUR), login="platform"
        )
        assert status == 201
        await eventually(arrived)
        mirror = person.calendars["Work"]["caldav"].rstrip("/").rsplit("/", 1)[1]
        assert (await person.dav("PUT", f"{mirror}/x.ics", event(TOMORROW)))[0] == 403
        assert [method for method, _ in await person.writes_upstream()] == ["PUT"]


def test_the_caldav_folder_holds_no_key(
    parts: tuple[Installation, Process, dict[str, Process]],
) -> None:
    installation, _, running = parts
    assert not list(Path(installation.folder / "keyless").glob("**/*keyring*"))
    pid = running["caldav"].popen.pid
    assert b"KEYRING" not in Path(f"/proc/{pid}/environ").read_bytes()
