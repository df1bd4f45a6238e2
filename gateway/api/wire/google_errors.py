"""Problems in the shape that Google's client libraries read."""

import orjson
from aiohttp import web

PATHS = "/v1/compat/google/"

_REASONS = {400: "badRequest", 401: "authError", 403: "forbidden", 404: "notFound"}


def as_google_error(problem: web.Response) -> web.Response:
    """Add to a problem document the ``error`` member Google's clients read; 422 becomes 400."""
    body = orjson.loads(bytes(problem.body)) if isinstance(problem.body, bytes) else {}
    status = 400 if problem.status == 422 else problem.status
    reason = _REASONS.get(status, "backendError" if status >= 500 else "invalid")
    message = body.get("detail", "")
    body |= {
        "status": status,
        "error": {
            "code": status,
            "message": message,
            "errors": [{"domain": "global", "reason": reason, "message": message}],
        },
    }
    problem.set_status(status)
    problem.body = orjson.dumps(body)
    return problem
