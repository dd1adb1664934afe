"""Accessibility: keyboard, screen reader, contrast, phone and dark mode."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from helpers.waiting import eventually

from queuectl import Queue

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

PAGES = ("/", "/jobs", "/dead", "/workers", "/enqueue", "/settings", "/jobs/long-one")
CONTRASTS = """
() => {
  const luminance = (c) => c.map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const colour = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = colour(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest(".unseen, .skip, svg, [disabled]")) continue;
    const [a, b] = [colour(getComputedStyle(e).color).slice(0, 3), ground(e)].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${e.tagName}.${e.className}: ${ratio.toFixed(2)}`);
  }
  return [...new Set(low)];
}
"""


@pytest.fixture
def rich(queue: Queue, drain: Callable[..., Any]) -> Queue:
    """A queue with something on every page, including very long words."""
    queue.enqueue("echo " + "unbroken" * 60 + "; exit 1", id="long-one", max_retries=0)
    queue.enqueue("true", id="a" * 100)
    queue.enqueue(["printf", "%s", "x" * 500], id="argv", env={"A": "y" * 200})
    drain(queue)
    queue.enqueue("exit 1", id="again", priority=1)
    queue.enqueue("true", id="later", delay=7200)
    return queue


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(
    rich: Queue, open_page: Callable[..., Any], address: str, path: str, scheme: str
) -> None:
    page = open_page(color_scheme=scheme)
    page.goto(address + path)
    assert page.evaluate(CONTRASTS) == []


def test_the_dark_scheme_is_dark(open_page: Callable[..., Any], address: str) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme)
        page.goto(address)
        text = page.evaluate("getComputedStyle(document.body).backgroundColor")
        grounds.append(sum(int(part) for part in text[4:-1].split(",")))
    assert grounds[0] > 600 > 150 > grounds[1]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [320, 360])
def test_a_phone_shows_every_page_without_scrolling_sideways(
    rich: Queue, open_page: Callable[..., Any], address: str, path: str, width: int
) -> None:
    page = open_page(viewport={"width": width, "height": 740}, has_touch=True, is_mobile=True)
    page.goto(address + path)
    expect(page.locator(".link")).to_have_text("Live")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("path", ["/", "/jobs", "/dead"])
def test_on_a_phone_a_job_takes_two_lines(
    rich: Queue, open_page: Callable[..., Any], address: str, path: str
) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.goto(address + path)
    look = """rows => rows.map(row => [row.offsetHeight < 3 * 24,
        row.querySelector(".command").offsetHeight > 0,
        row.querySelector(".when.wraps").offsetHeight > 0])"""

    def all_fit() -> bool:  # in one look: the page may replace its rows at any moment
        seen = page.eval_on_selector_all(".list tbody tr", look)
        return bool(seen) and all(map(all, seen))

    eventually(all_fit, seconds=10)


@pytest.mark.parametrize("path", PAGES)
def test_every_control_has_a_name_and_the_page_its_landmarks(
    rich: Queue, page: Any, address: str, path: str
) -> None:
    page.goto(address + path)
    expect(page.locator("h1")).to_have_count(1)
    for role in ("banner", "main"):
        expect(page.get_by_role(role)).to_have_count(1)
    expect(page.get_by_role("navigation", name="Pages", exact=True)).to_have_count(1)
    expect(page.locator('.top [aria-current="page"]')).to_have_count(1)
    for control in page.locator("a, button, input, select, textarea, pre[tabindex]").all():
        if control.is_visible():
            expect(control).to_have_accessible_name(re.compile(r"\S"))
    twice = "ids => ids.filter((id, i) => ids.indexOf(id) !== i)"
    ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert page.evaluate(twice, ids) == []


def test_the_live_regions_are_there_from_the_start(page: Any, address: str) -> None:
    page.goto(address)
    expect(page.locator("#announcer")).to_have_attribute("role", "status")
    expect(page.locator("#alert")).to_have_attribute("role", "alert")


def focused(page: Any) -> str:
    return str(
        page.evaluate(
            "(e => e.id || e.getAttribute('aria-label') || e.textContent.trim())"
            "(document.activeElement)"
        )
    )


def press_until(page: Any, wanted: str, key: str = "Tab", most: int = 60) -> None:
    seen = []
    for _ in range(most):
        page.keyboard.press(key)
        seen.append(focused(page))
        if wanted in seen[-1]:
            outline = page.evaluate(
                "(s => s.outlineStyle)(getComputedStyle(document.activeElement))"
            )
            assert outline != "none", f"the focus on {wanted} is not to be seen"
            return
    pytest.fail(f"{wanted} was not reached: {seen}")


def test_a_dead_job_is_found_and_retried_with_the_keyboard_alone(
    rich: Queue, page: Any, address: str
) -> None:
    page.goto(address)
    expect(page.locator(".link")).to_have_text("Live")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to content"
    press_until(page, "Dead letters")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Dead letters")
    expect(page.locator(".link")).to_have_text("Live")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    press_until(page, "q")
    page.keyboard.type("unbroken")
    page.keyboard.press("Enter")
    expect(page.locator("#list tbody tr")).to_have_count(1)
    expect(page.locator(".link")).to_have_text("Live")
    press_until(page, "t-long-one")
    page.keyboard.press("Space")
    press_until(page, "Retry selected (1)")
    page.keyboard.press("Enter")
    expect(page.locator("#task")).to_contain_text("1 job moved back to pending")
    expect(page.locator("#task .flash")).to_be_focused()
    assert rich.get("long-one").state == "pending"


def test_the_focus_stays_where_it_is_when_the_list_changes(
    rich: Queue, page: Any, address: str
) -> None:
    page.goto(address + "/jobs")
    expect(page.locator(".link")).to_have_text("Live")
    page.get_by_role("link", name="later").focus()
    rich.enqueue("true", id="newcomer")
    expect(page.locator("#list")).to_contain_text("newcomer")
    expect(page.get_by_role("link", name="later")).to_be_focused()


def test_motion_and_colour_are_not_the_only_signs(rich: Queue, page: Any, address: str) -> None:
    page.goto(address + "/jobs")
    expect(page.locator("#list .badge").first).to_have_text("pending")
    page.goto(address)
    expect(page.get_by_role("img", name="failed attempts")).to_be_visible()
    page.get_by_text("As a table").click()
    expect(page.get_by_role("table").filter(has_text="Failed attempts")).to_be_visible()
