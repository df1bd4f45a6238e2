"""Foreign CalDAV servers, each started as ``python -m benchmarks.peers KIND FOLDER OBJECTS``.

``radicale``: the stock application with its own file storage, under the WSGI server that our face
runs under too, so that the storage is compared and not the HTTP server. ``xandikos``: as it comes.
OBJECTS is a folder of ``.ics`` files that the calendar holds from the start.
"""

import asyncio
import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

LOGIN = ("anna", "secret")


def radicale(folder: Path, objects: Path) -> None:
    """Serve ``/anna/bench/``; caches are made by the first request."""
    import radicale.config
    from radicale.app import Application
    from radicale.log import logger
    from waitress.server import create_server

    logger.setLevel(logging.ERROR)
    calendar = folder / "collection-root" / LOGIN[0] / "bench"
    shutil.copytree(objects, calendar)
    (calendar / ".Radicale.props").write_text('{"tag": "VCALENDAR", "D:displayname": "bench"}')
    (folder / "users").write_text(":".join(LOGIN))
    configuration = radicale.config.load([])
    configuration.update(
        {
            "auth": {
                "type": "htpasswd",
                "htpasswd_filename": str(folder / "users"),
                "htpasswd_encryption": "plain",
            },
            "storage": {"filesystem_folder": str(folder)},
            "reporting": {"max_expand_occurrence": 0, "max_freebusy_occurrence": 0},
        },
        "benchmarks",
    )
    application = Application(configuration)
    server = create_server(  # type: ignore[no-untyped-call]
        application, host="127.0.0.1", port=0, threads=8
    )
    _say(f"http://127.0.0.1:{server.effective_port}/{LOGIN[0]}/bench/")
    server.run()


def xandikos(folder: Path, objects: Path) -> None:
    """Serve ``/user/calendars/calendar/``, a git repository with one commit; indexes come at once.

    By default it makes an index for a filter that it has seen some times.
    """
    from dulwich import porcelain
    from xandikos.web import SingleUserFilesystemBackend

    logging.disable(logging.WARNING)
    backend: Any = SingleUserFilesystemBackend(str(folder), index_threshold=0)
    backend._mark_as_principal("/user/")
    backend.create_principal("/user/", create_defaults=True)
    calendar = folder / "user" / "calendars" / "calendar"
    shutil.copytree(objects, calendar, dirs_exist_ok=True)
    porcelain.add(str(calendar), [str(path) for path in calendar.glob("*.ics")])
    porcelain.commit(str(calendar), message=b"fill", author=b"a <a@b>", committer=b"a <a@b>")
    asyncio.run(_serve_xandikos(backend))


async def _serve_xandikos(backend: Any) -> None:
    from xandikos.web import XandikosApp

    dav: Any = XandikosApp(backend, current_user_principal="/user/")

    async def handle(request: web.Request) -> web.StreamResponse:
        answer: web.StreamResponse = await dav.aiohttp_handler(request, "/")
        return answer

    app = web.Application()
    app.router.add_route("*", "/{path_info:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _say(f"http://127.0.0.1:{runner.addresses[0][1]}/user/calendars/calendar/")
    await asyncio.Event().wait()


def _say(url: str) -> None:
    print(json.dumps({"calendar": url}), flush=True)


if __name__ == "__main__":
    {"radicale": radicale, "xandikos": xandikos}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
