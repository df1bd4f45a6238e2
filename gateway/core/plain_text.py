"""Plain text from HTML: iCloud refuses events whose DESCRIPTION holds raw HTML."""

import html
import re

_TAGS = (
    "a abbr address article b blockquote body br center code col div em font footer h1 h2 h3 h4 h5"
    " h6 head header hr html i img li link main meta o:p ol p pre s script section small span"
    " strike strong style sub sup table tbody td tfoot th thead title tr u ul"
)
_NAMES = "|".join(re.escape(tag) for tag in sorted(_TAGS.split(), key=len, reverse=True))
_TAG = re.compile(rf"</?(?:{_NAMES})(?=[\s/>])[^<>]*>", re.IGNORECASE)
_DROPPED = re.compile(r"<(script|style|head|title)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_OTHER = re.compile(r"<!--.*?-->|<![a-z][^>]*>|<\?[^>]*>", re.IGNORECASE | re.DOTALL)
_BREAK = re.compile(r"<br\s*/?>|</(?:p|div|li|tr|h[1-6]|blockquote|table|ul|ol)\s*>", re.IGNORECASE)


def strip_html(text: str) -> str:
    """The text without HTML tags and entities; text that holds no known tag is left alone.

    Only names of real HTML elements count as tags, so ``<ann@example.com>`` and ``a < b`` survive.
    """
    if not (_TAG.search(text) or _OTHER.search(text)):
        return text
    text = _OTHER.sub("", _DROPPED.sub("", text))
    text = _TAG.sub("", _BREAK.sub("\n", text))
    text = html.unescape(text).replace("\xa0", " ")
    lines = [re.sub(r"[ \t]+", " ", line).strip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
