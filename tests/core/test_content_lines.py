"""Lines: forgiving on the way in, strict on the way out (RFC 5545 3.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ical.lines import (
    Property,
    escape_text,
    fold,
    join_characters,
    split_line,
    unescape_text,
    unfold,
    with_last_colon,
)


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc")), max_size=300))
def test_what_is_folded_unfolds_to_itself(text):
    folded = fold(f"SUMMARY:{text}")
    assert folded.endswith(b"\r\n")
    pieces = folded[:-2].split(b"\r\n")
    assert max(map(len, pieces)) <= 75
    assert all(piece.startswith(b" ") for piece in pieces[1:])
    assert [piece.decode() for piece in pieces]
    assert unfold(folded).rstrip("\n") == f"SUMMARY:{text}".lstrip("\ufeff")


@given(st.text(alphabet=st.characters(blacklist_characters="\r", blacklist_categories=("Cs",))))
def test_escaped_text_reads_back(text):
    assert unescape_text(escape_text(text)) == text
    assert "\n" not in escape_text(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (r"a\nb\Nc", "a\nb\nc"),
        (r"\;\,\\", ";,\\"),
        (r"a\:b", "a:b"),
        ("plain", "plain"),
        ("\\", "\\"),
    ],
)
def test_unescape(value, text):
    assert unescape_text(value) == text


@pytest.mark.parametrize(
    ("line", "prop"),
    [
        ("DTSTART:2026", Property("DTSTART", "", "2026")),
        ("dtstart;a=b:2026", Property("DTSTART", ";a=b", "2026")),
        ('X;A="b:c;d":e:f', Property("X", ';A="b:c;d"', "e:f")),
        ("X-A_B:1", None),
        ("no colon", None),
        ("", None),
        (":value", None),
    ],
)
def test_split_line(line, prop):
    assert split_line(line) == prop


@pytest.mark.parametrize(
    ("parameters", "value"),
    [
        (";TZID=Europe/Berlin", "Europe/Berlin"),
        (';VALUE=DATE;tzid="a;b:c"', "a;b:c"),
        (";TZID= padded ;X=1", "padded"),
        (";XTZID=no", None),
        ("", None),
    ],
)
def test_parameter(parameters, value):
    assert Property("DTSTART", parameters, "x").parameter("TZID") == value


def test_last_colon():
    prop = split_line("DTSTART;TZID=GMT+05:00:20260401T100000")
    assert prop is not None
    repaired = with_last_colon(prop)
    assert repaired == Property("DTSTART", ";TZID=GMT+05:00", "20260401T100000")
    assert repaired.parameter("TZID") == "GMT+05:00"
    assert with_last_colon(repaired) is None


@pytest.mark.parametrize("fold", [b"\r\n ", b"\n ", b"\n\t", b"&#13;\n ", b"&#xD;\n\t"])
@pytest.mark.parametrize("cut", range(1, 12))
def test_folds_inside_characters_are_undone_and_no_others(fold, cut):
    text = "Grüße 🙂".encode()
    folded = text[:cut] + fold + text[cut:]
    joined = join_characters(folded)
    inside = cut < len(text) and text[cut] & 0xC0 == 0x80
    assert joined == (text if inside else folded)
    assert joined.decode().replace(fold.decode(), "") == text.decode()
