"""A client for the control API of a look-alike in another process."""

import base64
from types import TracebackType
from typing import Any

import aiohttp


class ControlError(Exception):
    """The look-alike refused a control action; the text says why."""


class LookalikeControl:
    """Async control client; ``url`` is the entry address of the look-alike.

    Use as a context manager, or call `close`. Every method raises `ControlError` when the
    action is refused. `call` reaches actions that have no method of their own.
    """

    def __init__(self, url: str) -> None:
        self._base = url.rstrip("/") + "/_control/"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "LookalikeControl":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, action: str, **arguments: Any) -> Any:
        """Run one action; arguments that are None are left out."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        given = {key: value for key, value in arguments.items() if value is not None}
        async with self._session.post(self._base + action, json=given) as response:
            answer = await response.json()
        if response.status != 200:
            raise ControlError(f"{action}: {answer.get('error')}")
        return answer

    # -- accounts --------------------------------------------------------------------------

    async def accounts(self) -> list[dict[str, Any]]:
        """Return all accounts with their calendars and active app-specific passwords."""
        return list(await self.call("accounts"))

    async def account(self, email: str) -> dict[str, Any]:
        """Return one account; raises ControlError when there is none."""
        for account in await self.accounts():
            if account["email"].casefold() == email.casefold():
                return account
        raise ControlError(f"no account {email}")

    async def add_account(self, email: str, *, name: str | None = None) -> dict[str, Any]:
        """Create an account with the default calendars; the answer has ``app_password``."""
        return dict(await self.call("add-account", email=email, name=name))

    async def issue_password(self, account: str) -> str:
        """Issue a new app-specific password."""
        return str((await self.call("issue-password", account=account))["app_password"])

    async def revoke(self, account: str, password: str | None = None) -> None:
        """Revoke one app-specific password, or all."""
        await self.call("revoke", account=account, password=password)

    async def move_partition(self, account: str, *, refuse: str = "401") -> None:
        """Move the account to the other partition; the old one refuses so from now on."""
        await self.call("move-partition", account=account, refuse=refuse)

    # -- calendars -------------------------------------------------------------------------

    async def create_calendar(self, account: str, name: str, **more: Any) -> str:
        """Create a calendar (``id``, ``kind``, ``source`` may be given); return its id."""
        return str((await self.call("create-calendar", account=account, name=name, **more))["id"])

    async def drop_calendar(self, account: str, calendar: str) -> None:
        """Delete a calendar, or leave a share."""
        await self.call("drop-calendar", account=account, calendar=calendar)

    async def rename_calendar(
        self, account: str, calendar: str, *, name: str | None = None, color: str | None = None
    ) -> None:
        """Give a calendar another name or colour."""
        await self.call(
            "rename-calendar", account=account, calendar=calendar, name=name, color=color
        )

    async def share(self, account: str, calendar: str, sharee: str, mode: str = "write") -> str:
        """Share a calendar with another account (``read`` or ``write``); return its id there."""
        answer = await self.call(
            "share", account=account, calendar=calendar, sharee=sharee, mode=mode
        )
        return str(answer["id"])

    async def unshare(self, account: str, calendar: str, sharee: str) -> None:
        """Take a share back."""
        await self.call("unshare", account=account, calendar=calendar, sharee=sharee)

    async def set_mode(self, account: str, calendar: str, mode: str) -> None:
        """Make a shared-in calendar ``read`` or ``write``."""
        await self.call("set-mode", account=account, calendar=calendar, mode=mode)

    async def drop_tokens(self, account: str, calendar: str | None = None) -> None:
        """Make all sync tokens handed out so far unusable."""
        await self.call("drop-tokens", account=account, calendar=calendar)

    # -- objects, edited on the phone ------------------------------------------------------

    async def objects(self, account: str, calendar: str) -> list[dict[str, Any]]:
        """List the objects of a calendar: name, uid, etag, size."""
        return list(await self.call("objects", account=account, calendar=calendar))

    async def get(self, account: str, calendar: str, name: str) -> bytes:
        """Return the stored bytes of an object."""
        answer = await self.call("get", account=account, calendar=calendar, name=name)
        return base64.b64decode(answer["base64"])

    async def put(self, account: str, calendar: str, data: bytes, name: str | None = None) -> str:
        """Create or replace an object with any bytes, unchecked; return its name."""
        encoded = base64.b64encode(data).decode()
        answer = await self.call(
            "put", account=account, calendar=calendar, base64=encoded, name=name
        )
        return str(answer["name"])

    async def delete(self, account: str, calendar: str, name: str) -> None:
        """Delete an object."""
        await self.call("delete", account=account, calendar=calendar, name=name)

    async def move(self, account: str, calendar: str, name: str, to: str) -> str:
        """Move an object to another calendar; return its name there."""
        answer = await self.call("move", account=account, calendar=calendar, name=name, to=to)
        return str(answer["name"])

    async def drift(self, account: str, calendar: str, name: str) -> str:
        """Change an object's ETag though nobody edited it; return the new one."""
        answer = await self.call("drift", account=account, calendar=calendar, name=name)
        return str(answer["etag"])

    async def hold_uid(self, account: str, uid: str) -> None:
        """Let an invisible object hold a UID, so that creating it is refused."""
        await self.call("hold-uid", account=account, uid=uid)

    async def put_fixtures(
        self, account: str, calendar: str, *fixtures: str
    ) -> dict[str, list[str]]:
        """Put odd but real events (all, or those named); return the object names of each."""
        named = list(fixtures) or None
        return dict(
            await self.call("put-fixtures", account=account, calendar=calendar, fixtures=named)
        )

    async def edit(self, account: str, calendar: str, name: str, **properties: str | None) -> None:
        """Set (with None remove) properties of an event: ``edit(…, SUMMARY="Tea")``."""
        await self.call(
            "edit", account=account, calendar=calendar, name=name, properties=properties
        )

    async def reschedule(
        self, account: str, calendar: str, name: str, seconds: float, *, length: float | None = None
    ) -> None:
        """Move an event or a whole series in time by seconds; ``length`` in seconds too."""
        await self.call(
            "reschedule",
            account=account,
            calendar=calendar,
            name=name,
            seconds=seconds,
            length=length,
        )

    async def move_occurrence(
        self, account: str, calendar: str, name: str, recurrence: str, seconds: float
    ) -> None:
        """Move one instance, named by its wall time (``20261125T091500``), by seconds."""
        await self.call(
            "move-occurrence",
            account=account,
            calendar=calendar,
            name=name,
            recurrence=recurrence,
            seconds=seconds,
        )

    async def delete_occurrence(
        self, account: str, calendar: str, name: str, recurrence: str
    ) -> None:
        """Delete one instance of a series."""
        await self.call(
            "delete-occurrence",
            account=account,
            calendar=calendar,
            name=name,
            recurrence=recurrence,
        )

    async def split_series(
        self, account: str, calendar: str, name: str, recurrence: str, *, seconds: float = 0
    ) -> str:
        """Shift this and all future instances by seconds; return the new object's name."""
        answer = await self.call(
            "split-series",
            account=account,
            calendar=calendar,
            name=name,
            recurrence=recurrence,
            seconds=seconds,
        )
        return str(answer["name"])

    async def add_guests(self, account: str, calendar: str, name: str, *guests: str) -> None:
        """Invite people to an event."""
        await self.call(
            "add-guests", account=account, calendar=calendar, name=name, guests=list(guests)
        )

    async def respond(self, account: str, calendar: str, name: str, partstat: str) -> None:
        """Answer an invitation: ``ACCEPTED``, ``DECLINED``, ``TENTATIVE``."""
        await self.call("respond", account=account, calendar=calendar, name=name, partstat=partstat)

    # -- switches --------------------------------------------------------------------------

    async def set_fault(self, quirk: str, account: str | None = None, **more: Any) -> int:
        """Set a quirk (``docs/lookalike.md``): ``times``, ``skip``, ``seconds``, ``calendar``,
        ``method``, ``path``, ``off`` and its own parameters; return an id for `clear_faults`.
        """
        return int((await self.call("set-fault", quirk=quirk, account=account, **more))["id"])

    async def clear_faults(
        self,
        quirk: str | None = None,
        *,
        account: str | None = None,
        id: int | None = None,  # noqa: A002
    ) -> int:
        """Clear switches by quirk, account or id, or all; return how many."""
        answer = await self.call("clear-faults", quirk=quirk, account=account, id=id)
        return int(answer["cleared"])

    async def throttle(self, account: str, **more: Any) -> int:
        """Block an account for longer than it is told (``block``, ``retry_after``, ``form``)."""
        return await self.set_fault("throttle", account, **more)

    async def delay(self, account: str | None = None, *, by: float = 30, **more: Any) -> int:
        """Answer late, by so many seconds, after the request took effect."""
        return await self.set_fault("slow", account, by=by, **more)

    async def cut_bodies(self, account: str | None = None, **more: Any) -> int:
        """Cut answer bodies in half."""
        return await self.set_fault("cut-body", account, **more)

    async def empty_answers(self, account: str | None = None, **more: Any) -> int:
        """Answer reports with an empty 207."""
        return await self.set_fault("empty-multistatus", account, **more)

    async def stop(self, seconds: float | None = None) -> None:
        """Drop every CalDAV connection from now on, for some seconds or until `start`."""
        await self.call("stop", seconds=seconds)

    async def start(self) -> None:
        """Serve again after `stop`."""
        await self.call("start")

    # -- what happened ---------------------------------------------------------------------

    async def log(
        self,
        account: str | None = None,
        *,
        since: int = 0,
        method: str | None = None,
        calendar: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return the logged requests in order, newest last."""
        return list(
            await self.call("log", account=account, since=since, method=method, calendar=calendar)
        )

    async def clear_log(self) -> None:
        """Forget the log."""
        await self.call("clear-log")

    async def mail_count(self, account: str | None = None) -> int:
        """Return how many e-mails the server sent to guests."""
        return int((await self.call("mails", account=account))["count"])

    async def notification_count(
        self, account: str | None = None, calendar: str | None = None
    ) -> int:
        """Return how many notifications other people's phones showed."""
        answer = await self.call("notifications", account=account, calendar=calendar)
        return int(answer["count"])

    async def advance(self, seconds: float) -> float:
        """Move the look-alike's clock; return its time in UTC seconds."""
        return float((await self.call("advance", seconds=seconds))["now"])
