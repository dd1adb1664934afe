"""Parts that need no page: log text, chart, timeline, background tasks."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue, clock
from queuectl.errors import WrongState
from queuectl.web import logtext
from queuectl.web.background import Steps, TaskRunner
from queuectl.web.chart import HEIGHT, draw
from queuectl.web.timeline import SPANS, Bucket, Timeline


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain\n\ttab", "plain\n\ttab"),
        (b"\x1b[31mred\x1b[0m \x1b[1;32mgreen\x1b[K", "red green"),
        (b"\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        (b"one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("\u202egpj.exe\u2066".encode(), "\\u202egpj.exe\\u2066"),
        (b"\xff\x00", "\ufffd\\x00"),
        (b"<script>", "<script>"),
    ],
)
def test_output_is_made_safe_to_read(data: bytes, text: str) -> None:
    assert logtext.plain(data) == text


def test_a_log_read_in_pieces_says_the_same_as_read_at_once(tmp_path: Path) -> None:
    whole = "é€😀\r\n\x1b[31mred\x1b[0m\rend".encode() * 3
    path = tmp_path / "log"
    path.write_bytes(b"")
    reader, pieces = logtext.LogReader(str(path), 0), []
    for byte in whole:
        with path.open("ab") as file:
            file.write(bytes([byte]))
        pieces.append(reader.read())
    pieces.append(reader.read(final=True))
    assert "".join(pieces) == logtext.plain(whole)


def test_of_a_log_that_grows_faster_than_it_is_read_a_piece_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = "".join(f"line {number}\n" for number in range(200_000))
    path.write_text("line 0\n")
    reader = logtext.LogReader(str(path), 0)
    assert reader.read() == "line 0\n"
    path.write_text(lines)
    text = reader.read()
    while more := reader.read():
        text += more
    said, _, shown = text.lstrip("\n").partition("\n")
    counted = re.fullmatch(r"\[([\d,]+) bytes are left out here\]", said)
    assert counted
    left_out = int(counted[1].replace(",", ""))
    assert lines.endswith("\n" + shown)
    assert len("line 0\n") + left_out + len(shown) == len(lines)
    assert len(shown) <= logtext.CHUNK_BYTES


def test_a_log_that_was_emptied_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"first, long\n")
    reader = logtext.LogReader(str(path), 0)
    assert reader.read() == "first, long\n"
    path.write_bytes(b"new\n")
    assert reader.read() == "new\n"


def test_of_a_long_log_the_end_is_shown_from_a_whole_line_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"line %06d\n" % n for n in range(50_000)))
    text, offset, left_out = logtext.last_part(str(path))
    assert text.startswith("line ")
    assert text.endswith("line 049999\n")
    assert offset == path.stat().st_size
    assert 0 < left_out < offset
    assert len(text) <= logtext.MAX_SHOWN_BYTES


def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        logtext.last_part(str(tmp_path / "log"))


def test_a_missing_log_is_empty_text(tmp_path: Path) -> None:
    assert logtext.last_part(str(tmp_path / "none")) == ("", 0, 0)


@pytest.mark.parametrize("most", [0, 1, 4, 5, 7, 100, 101, 99_999])
def test_bars_stay_within_the_box(most: int) -> None:
    chart = draw("5m", [Bucket(0, most, 0, 0), Bucket(5, most // 2, most // 3, 1)])
    assert chart.top >= most
    for bar in chart.bars:
        for piece in bar.segments:
            assert piece.y >= 0
            assert piece.y + piece.height <= HEIGHT + 0.02


@pytest.mark.parametrize("span", SPANS)
def test_a_span_has_its_buckets_up_to_now(queue: Queue, span: str) -> None:
    seconds, width = SPANS[span]
    series = Timeline(queue.browser().read).series(span)
    assert len(series) == seconds // width
    assert series[-1].start <= clock.now() < series[-1].start + width


def test_the_timeline_reads_the_newest_first_and_the_rest_later(
    queue: Queue, drain: Callable[..., Any]
) -> None:
    queue.enqueue_many([{"command": "true"} for _ in range(9)])
    drain(queue)
    browser = queue.browser()
    timeline = Timeline(browser.read)
    browser.counts()
    assert timeline.note(browser.arrivals(), 5)
    assert sum(bucket.completed for bucket in timeline.series("1h")) == 5
    assert not timeline.note([], 5)
    assert sum(bucket.completed for bucket in timeline.series("1h")) == 9


@pytest.mark.parametrize(
    ("span", "first", "middle", "row"),
    [
        ("5m", "5m ago", "2m30s ago", "5s"),
        ("1h", "1h ago", "30m ago", "1m"),
        ("24h", "24h ago", "12h ago", "30m"),
    ],
)
def test_the_axis_has_the_names_of_the_spans(span: str, first: str, middle: str, row: str) -> None:
    chart = draw(span, [Bucket(0, 1, 0, 0)])
    assert (chart.first, chart.middle, chart.width_label) == (first, middle, row)


def sums(timeline: Timeline) -> tuple[int, int, int]:
    series = timeline.series("1h")
    return (
        sum(bucket.completed for bucket in series),
        sum(bucket.failed for bucket in series),
        sum(bucket.dead for bucket in series),
    )


@pytest.fixture
def look(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[int, int, int]]:
    """Count what has arrived, and return the sums of the chart."""
    monkeypatch.setattr("queuectl.view.pages._REST", 0)
    browser = queue.browser()
    timeline = Timeline(browser.read)

    def looked() -> tuple[int, int, int]:
        browser.counts()
        timeline.note(browser.arrivals(), 1000, browser.left_out)
        return sums(timeline)

    return looked


def test_the_attempt_after_which_a_job_died_is_a_death_and_no_failure(
    queue: Queue, drain: Callable[..., Any], look: Callable[[], tuple[int, int, int]]
) -> None:
    queue.enqueue("exit 1", id="bad", max_retries=0)
    drain(queue)
    assert look() == (0, 0, 1)


def test_a_death_counts_once_whatever_is_done_to_its_file(
    queue: Queue, drain: Callable[..., Any], look: Callable[[], tuple[int, int, int]]
) -> None:
    queue.enqueue("exit 1", id="bad", max_retries=0)
    queue.enqueue("true", id="none")
    queue.cancel("none")
    drain(queue)
    assert look() == (0, 0, 2)
    for job_id in ("bad", "none"):
        path = Path(queue.spool.layout.job("dead", job_id))
        os.utime(path)
        assert look() == (0, 0, 2)
        path.rename(path.with_suffix(".aside"))
        look()
        path.with_suffix(".aside").rename(path)
        assert look() == (0, 0, 2)


def test_a_job_that_dies_again_after_a_retry_has_died_twice(
    queue: Queue, drain: Callable[..., Any], look: Callable[[], tuple[int, int, int]]
) -> None:
    queue.enqueue("exit 1", id="bad", max_retries=0)
    drain(queue)
    look()
    queue.retry("bad")
    look()
    drain(queue)
    assert look() == (0, 0, 2)


def test_an_id_that_is_used_again_is_another_job(
    queue: Queue, drain: Callable[..., Any], look: Callable[[], tuple[int, int, int]]
) -> None:
    queue.enqueue('test "$QUEUECTL_ATTEMPT" = 2', id="a", max_retries=1)
    queue.set_setting("backoff_base", "0.01")
    drain(queue)
    assert look() == (1, 1, 0)
    queue.purge("completed")
    look()
    queue.enqueue("true", id="a")
    drain(queue)
    assert look() == (2, 1, 0)


def test_the_chart_says_before_when_it_is_incomplete(
    queue: Queue, drain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queuectl.view.pages.MAX_ARRIVALS", 6)
    queue.enqueue_many([{"command": "true", "id": f"j{n}"} for n in range(9)])
    drain(queue)
    ago = {}
    for number in range(9):
        path = queue.spool.layout.job("completed", f"j{number}")
        ago[number] = int(clock.now()) - 100 + 10 * number
        os.utime(path, (ago[number], ago[number]))
    browser = queue.browser()
    timeline = Timeline(browser.read)
    browser.counts()
    arrivals = browser.arrivals()
    assert [entry.name for entry in arrivals] == [f"j{n}.json" for n in range(3, 9)]
    assert timeline.note(arrivals, 4, browser.left_out)
    assert sums(timeline) == (4, 0, 0)
    assert timeline.complete_since() == ago[4]
    assert not timeline.note([], 4, browser.left_out)
    assert timeline.complete_since() == ago[2]
    before = draw("5m", timeline.series("5m"), timeline.complete_since()).incomplete_before
    assert re.fullmatch(r"\d\d:\d\d:\d\d", before)
    assert draw("5m", timeline.series("5m"), 0.0).incomplete_before == ""


def test_one_task_runs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuectl.web.background.SECONDS_TO_WAIT", 0.01)
    go_on = threading.Event()

    def steps() -> Steps:
        yield 1
        go_on.wait(20)
        yield "one is locked"

    def step() -> Steps:
        yield 2

    tasks = TaskRunner()
    assert not tasks.start("Sorting", "sorted", steps())
    with pytest.raises(WrongState, match="another task is running"):
        tasks.start("Sorting", "sorted", step())
    assert tasks.message() == "Sorting: 1 so far"
    go_on.set()
    monkeypatch.setattr("queuectl.web.background.SECONDS_TO_WAIT", 20)
    for thread in threading.enumerate():
        if thread.name == "task":
            thread.join()
    assert tasks.message() == "1 job sorted; 1 problem: one is locked"
    assert tasks.start("Sorting", "sorted", step())


def test_a_task_that_fails_says_why() -> None:
    def steps() -> Steps:
        yield 1
        raise OSError(28, "No space left on device")

    tasks = TaskRunner()
    tasks.start("Sorting", "sorted", steps())
    assert tasks.message() == "1 job sorted; 1 problem: No space left on device"


def test_a_closed_task_ends_after_its_step_and_cleans_up() -> None:
    ended = []

    def steps() -> Steps:
        try:
            yield 1
            yield 1
        finally:
            ended.append(True)

    tasks = TaskRunner()
    tasks.close()
    tasks.start("Sorting", "sorted", steps())
    assert ended
    assert tasks.message() == "1 job sorted"
