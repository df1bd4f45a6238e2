"""Every oddity of iCloud this client lives with: named, dated, with its evidence in one line.

Nothing here was measured against Apple by this project; each entry says where it was seen.
"""

# 2025-2026, three clients: 50 hrefs a multiget are routine, 250 are the most ever seen to work.
MULTIGET_BATCH = 50

# 2026, two clients: an expired token is a bare 403; 412 and 410 were seen too. RFC 6578 names
# 403 with valid-sync-token; whatever the server says about a token, a full listing settles it.
TOKEN_REFUSALS = frozenset({400, 403, 404, 409, 410, 412, 507})

# 2020-2026, fixtures of several clients: these children of a home are not calendars, and some
# servers forget to say so in the resource type.
SCHEDULING_IDS = frozenset({"inbox", "outbox", "notification", "notifications", "dropbox"})

# What needs no constant, because we never do it or decide by looking:
#
# 2025-12 and 2025-10, pasted curl logs: PUT of a body iCloud dislikes is answered 404, not 4xx
# with a reason; so a 404 to a PUT says nothing about the collection.

# 2026-07, live test by two clients: If-Match: * is answered 412 although the object exists.
# We never send it; a known ETag or If-None-Match: * only.

# 2014 (python-caldav 7) and the open-source server: DELETE with any Depth but infinity is 400.
# We send none.

# 2026, production report: Retry-After is shorter than the real block; obeying it exactly trips
# the limit again. Seconds of our own floor, doubled per failure up to the ceiling.
THROTTLE_FLOOR_S = 30.0
THROTTLE_CEILING_S = 900.0

# 2024-2026, three clients: accounts move between partitions (pNN-caldav.icloud.com); the entry
# host routes every request by credential. We keep paths, never the partition's name.
DEFAULT_PORTS = {"https": 443, "http": 80}

# 2025, pasted headers: every answer carries this id; Apple's support can find it.
REQUEST_ID_HEADER = "x-apple-request-uuid"

# 2025, one client's test: a request without User-Agent is answered 403.
USER_AGENT = "icloud-caldav-gateway/0.1"

# 2020, one client: clients that follow a redirect by hand must keep method, body and credentials,
# and must not leave the provider's domain.
REDIRECTS = frozenset({301, 302, 307, 308})
MAX_REDIRECTS = 4
