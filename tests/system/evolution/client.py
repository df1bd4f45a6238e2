"""One Evolution account, driven by lines of JSON; runs in Debian's Python inside a D-Bus session.

Each line is ``{"call": name, "with": {...}}`` and is answered by ``{"result": …}`` or
``{"error": text}``. Evolution's data server does the talking to the server by itself, in its own
processes; this is what Evolution's window does with it.
"""

import json
import sys
import threading
import time
import traceback
from urllib.parse import urlsplit

import gi

gi.require_version("ECal", "2.0")
gi.require_version("EDataServer", "1.2")
gi.require_version("ICalGLib", "3.0")
from gi.repository import ECal, EDataServer, GLib, ICalGLib  # noqa: E402

CALENDAR = EDataServer.SOURCE_EXTENSION_CALENDAR
CONNECT_S = 20


class Account:
    """The account and the opened calendars, by name."""

    def __init__(self) -> None:
        self.registry = EDataServer.SourceRegistry.new_sync(None)
        self.registry.connect("credentials-required", self._answer)
        self.credentials = EDataServer.NamedParameters.new()
        self.account = None
        self.opened = {}

    def _answer(self, _registry, source, *_about) -> None:
        """Give the password where Evolution would ask the person for it."""
        source.invoke_authenticate_sync(self.credentials, None)

    def look_up(self, url, user, password):
        """Do what the account assistant does: find the calendars of an address."""
        self.credentials.set(EDataServer.SOURCE_CREDENTIAL_USERNAME, user)
        self.credentials.set(EDataServer.SOURCE_CREDENTIAL_PASSWORD, password)
        self.account = EDataServer.Source.new(None, None)
        self.account.set_display_name("Gateway")
        collection = self.account.get_extension(EDataServer.SOURCE_EXTENSION_COLLECTION)
        collection.set_backend_name("webdav")
        collection.set_identity(user)
        collection.set_calendar_url(url)
        collection.set_contacts_enabled(False)
        parts = urlsplit(url)
        login = self.account.get_extension(EDataServer.SOURCE_EXTENSION_AUTHENTICATION)
        login.set_user(user)
        login.set_host(parts.hostname)
        login.set_port(parts.port)
        login.set_method("plain/password")
        events = int(EDataServer.WebDAVDiscoverSupports.EVENTS)
        found = EDataServer.webdav_discover_sources_sync(
            self.account, url, events, self.credentials, None
        )
        return {
            one.display_name: {"url": one.href, "color": one.color}
            for one in found.out_discovered_sources
        }

    def add(self, names):
        """Store the account; its backend finds the calendars itself. Waits for ``names``."""
        self.registry.commit_source_sync(self.account, None)
        wait_for(lambda: set(names) <= set(self._sources()))
        return sorted(self._sources())

    def _sources(self):
        parent = self.account.get_uid()
        return {
            source.get_display_name(): source
            for source in self.registry.list_sources(CALENDAR)
            if source.get_parent() == parent
        }

    def make_calendar(self, url, name):
        """Make a calendar on the server, as its browser of WebDAV collections does."""
        events = int(EDataServer.WebDAVDiscoverSupports.EVENTS)
        self._webdav().mkcalendar_sync(url, name, None, "#336699", events, None)
        self.registry.refresh_backend_sync(self.account.get_uid(), None)
        wait_for(lambda: name in self._sources())

    def delete_calendar(self, url, name):
        """Delete a calendar on the server."""
        self._webdav().delete_sync(url, "infinity", None, None)
        self.registry.refresh_backend_sync(self.account.get_uid(), None)
        wait_for(lambda: name not in self._sources())

    def _webdav(self):
        session = EDataServer.WebDAVSession.new(self.account)
        session.set_credentials(self.credentials)
        return session

    def open(self, name):
        """Open a calendar."""
        client = ECal.Client.connect_sync(
            self._sources()[name], ECal.ClientSourceType.EVENTS, CONNECT_S, None
        )
        self.opened[name] = client
        wait_for(client.is_online)

    def is_readonly(self, name):
        """Tell whether it may be written; the data server's word arrives after the opening."""
        return self.opened[name].is_readonly()

    def events(self, name):
        """Return the events of an opened calendar as {uid: text}."""
        _done, components = self.opened[name].get_object_list_sync("#t", None)
        return {one.get_uid(): one.as_ical_string() for one in components}

    def refresh(self, name):
        """Ask the data server to look at the server again; it does so in its own time."""
        self.opened[name].refresh_sync(None)

    def create(self, name, text):
        """Write a new event; returns its UID."""
        component = ICalGLib.Component.new_from_string(text)
        done = self.opened[name].create_object_sync(component, ECal.OperationFlags.NONE, None)
        return done[1] if isinstance(done, tuple) else done

    def modify(self, name, text):
        """Write an event anew."""
        component = ICalGLib.Component.new_from_string(text)
        self.opened[name].modify_object_sync(
            component, ECal.ObjModType.ALL, ECal.OperationFlags.NONE, None
        )

    def remove(self, name, uid):
        """Delete an event."""
        self.opened[name].remove_object_sync(
            uid, None, ECal.ObjModType.ALL, ECal.OperationFlags.NONE, None
        )


def wait_for(check) -> None:
    """Wait until ``check`` holds, at most as long as a connection may take."""
    deadline = time.monotonic() + CONNECT_S
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {CONNECT_S} s")
        time.sleep(0.05)


def work(account: Account, loop: GLib.MainLoop) -> None:
    """Answer the lines of standard input; the loop delivers the data server's signals."""
    for line in sys.stdin:
        wish = json.loads(line)
        try:
            answer = {"result": getattr(account, wish["call"])(**wish["with"])}
        except (GLib.Error, TimeoutError, KeyError) as error:
            answer = {"error": "".join(traceback.format_exception_only(error))}
        print(json.dumps(answer), flush=True)
    loop.quit()


if __name__ == "__main__":
    main_loop = GLib.MainLoop()
    threading.Thread(target=work, args=(Account(), main_loop), daemon=True).start()
    main_loop.run()
