"""PUT, DELETE, GET of objects, and the collection verbs iCloud mostly refuses."""

from gateway.lookalike.dav import markup as m
from gateway.lookalike.dav.answers import bare, html
from gateway.lookalike.dav.bodies import guests_of, organizer_of, refusal_status, rewrite
from gateway.lookalike.dav.call import Answer, Call
from gateway.lookalike.dav.reports import ghost_status, visible
from gateway.lookalike.world.accounts import Calendar, Kind
from gateway.lookalike.world.contents import Resource
from gateway.lookalike.world.ical import Component, MalformedBodyError, parse_body


def answer_get(call: Call) -> Answer:
    """Return the stored bytes of an object as they are."""
    resource = call.resource
    if resource is None:
        return bare(404)
    _drift(call, resource)
    ghost = ghost_status(call, resource.name)
    if ghost is not None:
        return bare(ghost or 404)
    shown = visible(call, call.resource or resource)
    if shown is None:
        return bare(404)
    answer = Answer(200, shown[0], "text/calendar; charset=utf-8")
    return answer.add_header("ETag", shown[1])


def answer_put(call: Call) -> Answer:
    """Store an object: 201 for a new one, 204 for a changed one, else a refusal without reason."""
    calendar, name = call.calendar, call.name
    if calendar is None or name is None:
        return bare(404)
    if not calendar.writable or calendar.kind not in (Kind.CALENDAR, Kind.REMINDERS):
        return bare(403)
    if call.resource is not None:
        _drift(call, call.resource)
    if call.on("put-412") or _precondition_fails(call, call.resource):
        return bare(412)
    try:
        body = parse_body(call.body)
    except MalformedBodyError:
        return bare(403)
    status = refusal_status(call, body)
    if status is not None:
        return bare(status)
    if _uid_is_taken(call, calendar, name, body):
        return bare(412)
    return _store(call, calendar, name, body)


def _store(call: Call, calendar: Calendar, name: str, body: Component) -> Answer:
    account, world = call.owner, call.world
    created = name not in calendar.resources
    guests = _mail_guests(call, body) if call.on("mails-guests") else frozenset()
    resource = calendar.contents.put(name, rewrite(call, body, guests), world.now())
    resource.mailed = guests
    if created and call.on("sharee-notifications"):
        world.notify_sharees(calendar.contents, account.email, "created", name)
    answer = bare(201 if created else 204)
    account.puts += 1
    every = int(call.param("put-etag-missing", "every", 4))
    if not call.on("put-etag-missing") or not every or account.puts % every:
        answer.add_header("ETag", resource.etag)
    return answer


def _drift(call: Call, resource: Resource) -> None:
    if call.calendar is not None and call.on("etag-drift"):
        call.calendar.contents.touch(resource.name, call.world.now())


def _precondition_fails(call: Call, resource: Resource | None) -> bool:
    if_match, if_none_match = call.headers.get("If-Match"), call.headers.get("If-None-Match")
    if if_none_match is not None and if_none_match.strip() == "*" and resource is not None:
        return True
    if if_match is None:
        return False
    if if_match.strip() == "*":
        return call.on("if-match-star-412") or resource is None
    return resource is None or if_match.strip() != resource.etag


def _uid_is_taken(call: Call, calendar: Calendar, name: str, body: Component) -> bool:
    uid = body.parts("VEVENT", "VTODO")[0].find_value("UID") or ""
    existing = call.resource
    if existing is not None and existing.uid == uid:
        return False
    ledger = calendar.contents.ledger
    if call.on("unique-uid") and (uid in ledger.holders or uid in ledger.hidden):
        return True
    if existing is not None:
        return True  # another UID under the same name
    dead = uid in ledger.dead or name in calendar.contents.dead_names
    return dead and call.on("tombstones")


def _mail_guests(call: Call, body: Component) -> frozenset[str]:
    """Mail the guests of an own event, or the organizer of somebody else's."""
    account = call.owner
    uid = body.parts("VEVENT", "VTODO")[0].find_value("UID") or ""
    organizer = organizer_of(account, body)
    if organizer is not None:
        call.world.mail(account.email, organizer, "REPLY", uid)
        return frozenset()
    guests = guests_of(account, body)
    gone = (call.resource.mailed if call.resource else frozenset()) - guests
    for method, addresses in (("REQUEST", guests), ("CANCEL", gone)):
        for address in sorted(addresses):
            call.world.mail(account.email, address, method, uid)
    return guests


def answer_delete(call: Call) -> Answer:
    """Delete an object, or a whole collection: a share is unlinked without a question."""
    if call.depth not in (None, "infinity") and call.on("delete-depth"):
        answer = html(400)
        answer.body = answer.body.replace(b"</body>", b"<p>illegal depth header</p></body>")
        return answer
    calendar = call.calendar
    if calendar is None:
        return bare(403)
    if call.name is None:
        return _delete_collection(call, calendar)
    resource = call.resource
    if resource is None:
        return bare(404)
    if not calendar.writable:
        return bare(403)
    _drift(call, resource)
    if call.on("delete-honours-etag") and _precondition_fails(call, call.resource):
        return bare(412)
    if call.on("mails-guests"):
        _mail_cancellation(call, resource)
    calendar.contents.delete(resource.name, call.world.now())
    if call.on("sharee-notifications"):
        call.world.notify_sharees(calendar.contents, call.owner.email, "deleted", resource.name)
    return bare(204)


def _mail_cancellation(call: Call, resource: Resource) -> None:
    try:
        body = parse_body(resource.data)
    except MalformedBodyError:
        return
    account = call.owner
    organizer = organizer_of(account, body)
    if organizer is not None:
        call.world.mail(account.email, organizer, "REPLY", resource.uid)
        return
    for address in sorted(guests_of(account, body)):
        call.world.mail(account.email, address, "CANCEL", resource.uid)


def _delete_collection(call: Call, calendar: Calendar) -> Answer:
    if calendar.kind in (Kind.INBOX, Kind.OUTBOX, Kind.NOTIFICATION):
        return bare(403)
    if calendar.mode != "owner" and not call.on("delete-unlinks"):
        return bare(403)
    call.owner.drop_calendar(calendar.id)
    return bare(204)


def answer_mkcalendar(call: Call, calendar_id: str | None) -> Answer:
    """Refuse MKCALENDAR and MKCOL with 403, or create when that is switched on."""
    if call.on("mkcalendar-403") or not calendar_id or call.calendar is not None:
        return bare(403)
    name = calendar_id
    if call.body.strip():
        root = m.parse_xml(call.body)
        name = root.findtext(f".//{m.dav('displayname')}") or calendar_id
    call.owner.add_calendar(name, calendar_id=calendar_id)
    return bare(201)
