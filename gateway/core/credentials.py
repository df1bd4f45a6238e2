"""What people type as the address and the app-specific password of an Apple Account (R1).

An app-specific password is sixteen lower-case letters, shown in groups of four with hyphens (Apple
support 102654); the account's own password is never accepted.
"""

import re
import unicodedata

from gateway.core.subscriptions import drop_invisible

_DASHES = "\u2212\u02d7\u00af\u203e\u30fc\uff70"
"""Seen as dashes, though their category is another (minus signs, macrons, long sounds)."""
_AROUND = "\"'`\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a"
_AROUND += "()[]{}<>.,;:!?\u2026\u3002\u3001*"
_LETTERS = re.compile(r"[a-z]{16}")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


def tidy_password(typed: str) -> str | None:
    """Return an app-specific password as ``abcd-efgh-ijkl-mnop``, None for what can be none.

    Letter case, blanks, dashes of every kind, invisible characters, full-width letters and quotes
    or punctuation around it are forgiven. Any other character is not.
    """
    plain = unicodedata.normalize("NFKC", "".join(c for c in typed if c not in _DASHES))
    seen = drop_invisible(plain).strip(_AROUND)
    letters = "".join(c for c in seen if unicodedata.category(c) != "Pd")
    if not _LETTERS.fullmatch(letters):
        return None
    return "-".join(letters[start : start + 4] for start in range(0, 16, 4))


def tidy_address(typed: str) -> str | None:
    """Return an e-mail address in lower case, None for what is none.

    Blanks, invisible characters, ``mailto:``, full-width letters and quotes or brackets around it
    are forgiven.
    """
    plain = drop_invisible(unicodedata.normalize("NFKC", typed))
    address = plain.strip(_AROUND).removeprefix("mailto:").strip(_AROUND)
    return address if _ADDRESS.fullmatch(address) else None
