"""The names in a spool."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.errors import InvalidInput
from queuectl.record.ids import ID_PATTERN, check_id, id_from_name, is_id, numbered
from queuectl.spool import layout

IDS = st.from_regex(ID_PATTERN, fullmatch=True)
PATHS = layout.Layout("/spool")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.1.json", ("a", 1, "json")),
        ("a.0.json", ("a", 0, "json")),
        ("a.2.1.json", ("a.2", 1, "json")),
        ("a.json.12.run", ("a.json", 12, "run")),
        ("a-b_c.d.3.cancel", ("a-b_c.d", 3, "cancel")),
        ("a.json", None),
        ("a.x.json", None),
        ("a.1.txt", None),
        (".a.1.json", None),
        ("1.json", None),
        ("a.-1.json", None),
        ("a.1234567890.json", None),
        ("a.1.json\n", None),
        ("a b.1.json", None),
        ("a.٣.json", None),
    ],
)
def test_a_claim_is_taken_apart(name: str, parts: tuple[str, int, str] | None) -> None:
    assert layout.parse_claim(name) == parts


@given(IDS, st.integers(0, 10**9 - 1), st.sampled_from(["json", "run", "cancel"]))
def test_every_claim_names_its_job_and_attempt(job_id: str, attempt: int, ending: str) -> None:
    name = PATHS.claim("w", job_id, attempt, ending).rpartition("/")[2]
    assert layout.parse_claim(name) == (job_id, attempt, ending)


@given(IDS, st.integers(1, 10**9 - 1))
def test_every_log_names_its_job_and_attempt(job_id: str, attempt: int) -> None:
    assert layout.parse_log(PATHS.log(job_id, attempt).rpartition("/")[2]) == (job_id, attempt)


@pytest.mark.parametrize("name", ["a.log", "a.1.json", "a.1", ".a.1.log", "a.1.log.gz"])
def test_what_is_no_log_is_not_taken_for_one(name: str) -> None:
    assert layout.parse_log(name) is None


@pytest.mark.parametrize(
    ("name", "is_job"),
    [("a.json", True), ("a b.json", True), (".a.json", False), ("a.json~", False), ("a", False)],
)
def test_jobs_are_the_json_files_that_are_not_hidden(name: str, is_job: bool) -> None:
    assert layout.is_job_name(name) == is_job


def test_new_ids_are_ids_and_all_different() -> None:
    ids = {layout.new_id() for _ in range(10_000)}
    assert len(ids) == 10_000
    assert all(is_id(each) and len(each) == 12 for each in ids)


def test_a_worker_is_named_by_host_process_and_chance() -> None:
    name = layout.new_worker("büro 7.example.org", 42)
    assert name.startswith("b-ro-7-example-org-42-")
    assert name != layout.new_worker("büro 7.example.org", 42)


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "../a", "-a", "a\n", "x" * 101, "ä"])
def test_what_is_no_id_never_becomes_a_path(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a valid id"):
        PATHS.job("pending", text)


@pytest.mark.parametrize(
    ("stem", "job_id"),
    [
        ("a", "a"),
        ("a b", "a_b"),
        ("..a", "a"),
        ("-rf", "rf"),
        ("", "unnamed"),
        ("...", "unnamed"),
        ("ü", "unnamed"),
        ("a\nb", "a_b"),
        ("x" * 300, "x" * 100),
    ],
)
def test_a_name_that_is_no_id_is_kept_as_the_nearest(stem: str, job_id: str) -> None:
    assert id_from_name(stem) == job_id


@given(st.text())
def test_every_name_has_an_id_near_to_it(stem: str) -> None:
    assert check_id(id_from_name(stem))


@given(IDS, st.integers(2, 10**6))
def test_a_numbered_id_is_an_id(job_id: str, number: int) -> None:
    assert check_id(numbered(job_id, number)).endswith(f".{number}")


@given(IDS, st.integers(0, 10**9 - 1))
def test_every_marker_names_its_job_and_attempt(job_id: str, attempt: int) -> None:
    assert layout.parse_hook(layout.new_hook(job_id, attempt)) == (job_id, attempt)


@pytest.mark.parametrize(
    "name", ["a.hook", "a.1.hook", "a.1.0123456.hook", ".a.1.01234567.hook", "a.1.01234567.json"]
)
def test_what_is_no_marker_is_not_taken_for_one(name: str) -> None:
    assert layout.parse_hook(name) is None
