"""Foreign CalDAV servers, each started as ``python -m benchmarks.peers KIND FOLDER OBJECTS``.

``radicale``: the stock application with its own file storage, under the WSGI server that our face
runs under too, so that the storage is compared and not the HTTP server. ``xandikos``: as it comes.
OBJECTS is a folder of ``.ics`` files that the calendar holds from the start.
"""

import json
import logging
import shutil
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

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
    """Serve ``/user/calendars/calendar/``, a git repository with one commit."""
    from dulwich import porcelain
    from xandikos.web import SingleUserFilesystemBackend, run_simple_server

    logging.disable(logging.WARNING)
    backend: Any = SingleUserFilesystemBackend(str(folder))
    backend._mark_as_principal("/user/")
    backend.create_principal("/user/", create_defaults=True)
    calendar = folder / "user" / "calendars" / "calendar"
    shutil.copytree(objects, calendar, dirs_exist_ok=True)
    porcelain.add(str(calendar), [str(path) for path in calendar.glob("*.ics")])
    porcelain.commit(str(calendar), message=b"fill", author=b"a <a@b>", committer=b"a <a@b>")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threading.Thread(target=_say_when_open, args=(port,), daemon=True).start()
    run_simple_server(str(folder), "/user/", listen_address="127.0.0.1", port=port)


def _say_when_open(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return _say(f"http://127.0.0.1:{port}/user/calendars/calendar/")


def _say(url: str) -> None:
    print(json.dumps({"calendar": url}), flush=True)


if __name__ == "__main__":
    {"radicale": radicale, "xandikos": xandikos}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
