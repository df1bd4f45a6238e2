"""What people type as an app-specific password and an address, and what it becomes (R1)."""

import unicodedata

import pytest

from gateway.core.credentials import tidy_address, tidy_password

pytestmark = pytest.mark.rule("R1")

RIGHT = "abcd-efgh-ijkl-mnop"
GROUPS = RIGHT.split("-")
BETWEEN = [
    *"-‐‑‒–—―−﹘﹣－",
    "",
    " ",
    "  ",
    "\t",
    "\u00a0",
    "\u2009",
    "\u3000",
    " - ",
    "\u00ad",
    "\u200b",
    "\u2060",
    "\ufeff",
    "\u200d",
    "\ufe0f",
    "\u2028",
    "\u0000",
    "¯",
    "ー",
]
WHOLE = [
    RIGHT.upper(),
    RIGHT.title(),
    f"  {RIGHT}\r\n",
    f"\ufeff{RIGHT}\u200b",
    f"\u202d{RIGHT}\u202c",
    f"\u2068{RIGHT}\u2069",
    f"“{RIGHT}”",
    f"'{RIGHT}'",
    f"{RIGHT}.",
    f"«{RIGHT}»,",
    f"`{RIGHT}`",
    RIGHT.translate({ord(c): ord(c) + 0xFEE0 for c in "abcdefghijklmnop-"}),
    unicodedata.normalize("NFD", RIGHT),
]
NEVER = [
    "",
    "hunter2",
    "abcd-efgh-ijkl",
    "abcd-efgh-ijkl-mno",
    "abcd-efgh-ijkl-mnopq",
    "ABCD-EFGH-IJKL-MN0P",
    "abcd-efgh-ijkl-mnö p",
    "abcd+efgh+ijkl+mnop",
    "аbcd-efgh-ijkl-mnop",
    "my apple password",
    "-" * 19,
]


@pytest.mark.parametrize("between", BETWEEN, ids=ascii)
def test_whatever_stands_between_the_groups_is_forgiven(between: str) -> None:
    assert tidy_password(between.join(GROUPS)) == RIGHT


@pytest.mark.parametrize("typed", WHOLE, ids=ascii)
def test_letter_case_and_what_stands_around_is_forgiven(typed: str) -> None:
    assert tidy_password(typed) == RIGHT


@pytest.mark.parametrize("typed", NEVER, ids=ascii)
def test_what_can_be_no_app_specific_password_is_told_apart(typed: str) -> None:
    assert tidy_password(typed) is None


@pytest.mark.parametrize(
    "typed",
    [
        "ann@icloud.com",
        " Ann@iCloud.com ",
        "ANN@ICLOUD.COM",
        "mailto:ann@icloud.com",
        "MAILTO:Ann@icloud.com",
        "<ann@icloud.com>",
        '"ann@icloud.com",',
        "ann @ icloud.com",
        "ann\u200b@icloud.com\ufeff",
        "ann＠icloud．com",
        "\u202aann@icloud.com\u202c",
    ],
    ids=ascii,
)
def test_an_address_is_tidied(typed: str) -> None:
    assert tidy_address(typed) == "ann@icloud.com"


@pytest.mark.parametrize("typed", ["", "ann", "@icloud.com", "ann@", "a@b@icloud.com"])
def test_what_is_no_address_is_told_apart(typed: str) -> None:
    assert tidy_address(typed) is None
