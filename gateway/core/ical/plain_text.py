"""Plain text from HTML: iCloud refuses events whose DESCRIPTION holds raw HTML."""

import html
import re

_TAGS = (
    "a abbr address article b blockquote body br center code col div em font footer h1 h2 h3 h4 h5"
    " h6 head header hr html i img li link main meta o:p ol p pre s script section small span"
    " strike strong style sub sup table tbody td tfoot th thead title tr u ul"
)
_NAMES = "|".join(re.escape(tag) for tag in sorted(_TAGS.split(), key=len, reverse=True))
# One token after the other, each found in one step, so that no text costs more than its length.
_TOKEN = re.compile(
    rf"<!--|-->|<![a-z][^<>]*>|<\?[^<>]*>|<(/?)({_NAMES})(?=[\s/>])[^<>]*>", re.IGNORECASE
)
_HIDDEN = {"script", "style", "head", "title"}
_BREAKS_AFTER = {"p", "div", "li", "tr", "blockquote", "table", "ul", "ol"} | {
    f"h{level}" for level in range(1, 7)
}


def strip_html(text: str) -> str:
    """Return the text without HTML tags and entities; text that holds no known tag is left alone.

    Only names of real HTML elements count as tags, so ``<ann@example.com>`` and ``a < b`` survive.
    What ``script``, ``style``, ``head`` and comments hold goes with them.
    """
    if "<" not in text or _TOKEN.search(text) is None:
        return text
    kept: list[str] = []
    hidden_by: str | None = None
    position = 0
    for token in _TOKEN.finditer(text):
        if hidden_by is None:
            kept.append(text[position : token.start()])
        position = token.end()
        closing, name = token[1], (token[2] or token[0]).lower()
        if hidden_by is not None:
            if (closing and name == hidden_by) or (hidden_by == "<!--" and name == "-->"):
                hidden_by = None
        elif name == "<!--" or (name in _HIDDEN and not closing):
            hidden_by = name
        elif name == "br" or (closing and name in _BREAKS_AFTER):
            kept.append("\n")
    if hidden_by is None:
        kept.append(text[position:])
    return _tidy(html.unescape("".join(kept)))


def _tidy(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
