"""Text for a terminal: what is escaped, how wide it is, where it may be cut."""

from __future__ import annotations

import pytest

from queuectl.view.text import cells, cut, printable

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
FLAG = "\U0001f1e9\U0001f1ea"
WAVE = "\U0001f44b\U0001f3fd"
HEART = "\u2764\ufe0f"


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("", 0), ("abc", 3), ("日本", 4), ("e\u0301", 1), (FAMILY, 2), (FLAG, 2), (WAVE, 2),
        (HEART, 2), (FLAG + FLAG, 4), (f"a{FAMILY}b", 4), ("ü", 1), ("…", 1),
    ],
)  # fmt: skip
def test_the_width_is_that_of_a_terminal(text: str, width: int) -> None:
    assert cells(text) == width


@pytest.mark.parametrize("whole", [FAMILY, FLAG, WAVE, HEART, "e\u0301", "日"])
def test_what_is_one_on_the_screen_is_never_split(whole: str) -> None:
    text = f"a{whole}{whole}{whole}"
    for width in range(1, cells(text)):
        kept = cut(text, width)
        assert cells(kept) <= width
        assert kept.endswith("…")
        assert kept.removeprefix("a").removesuffix("…").replace(whole, "") == ""


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("日本", 4), ("", 0)])
def test_what_fits_is_whole(text: str, width: int) -> None:
    assert cut(text, width) == text


def test_nothing_fits_no_room() -> None:
    assert cut("abc", 0) == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (FAMILY, FAMILY),
        ("\x1b[0m", "\\x1b[0m"),
        ("a\u200db", "a\\u200db"),
        ("\u202eabc", "\\u202eabc"),
        ("\udcff", "\\xff"),
    ],
)
def test_only_the_joiner_of_emoji_is_let_through(text: str, shown: str) -> None:
    assert printable(text) == shown
