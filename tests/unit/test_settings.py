"""The settings: ranges, defaults, the template."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from unit.messages import VALUES, foreign_words, refusal_of

from queuectl.errors import InvalidSetting
from queuectl.record.settings import Settings, check, describe, template


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("max_retries", 0, 0),
        ("backoff_base", 1.5, 1.5),
        ("backoff_max", "10m", 600),
        ("backoff_jitter", 1, 1),
        ("timeout", "1h30m", 5400),
        ("output_max", 1, 1),
        ("output_max", "500000", 500_000),
        ("output_max", "10M", 10 * 1024**2),
        ("output_max", "1.5GiB", 3 * 1024**3 // 2),
        ("kill_grace", 0, 0),
        ("rescan_interval", 0.1, 0.1),
        ("quiet_period", "500ms", 0.5),
        ("fsync", False, False),
        ("keep_done", "7d", 604800),
        ("keep_dead", 3600, 3600),
        ("keep_done_count", 0, 0),
        ("keep_dead_count", 1000, 1000),
        ("on_done", "notify-send done\n# twice", "notify-send done\n# twice"),
        ("on_dead", "\n\ncd /tmp\ntrue\n", "\n\ncd /tmp\ntrue\n"),
        ("hook_timeout", "1m", 60),
    ],
)
def test_a_good_value_is_taken(key: str, value: Any, read: Any) -> None:
    assert getattr(check({key: value}), key) == read


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("max_retries", -1, "whole number from 0 to 1000000"),
        ("max_retries", 1.5, "whole number"),
        ("max_retries", True, "whole number"),
        ("backoff_base", -1, "from 0 to 1000"),
        ("backoff_base", 1001, "from 0 to 1000"),
        ("backoff_base", float("nan"), "from 0 to 1000"),
        ("backoff_base", "2s", "a number"),
        ("backoff_max", -1, "at least 0"),
        ("backoff_max", float("inf"), "at most 1000000000 seconds"),
        ("backoff_jitter", 1.1, "from 0 to 1"),
        ("timeout", 0, "greater than 0"),
        ("timeout", "soon", "'soon' is not a duration"),
        ("timeout", "20000d", "at most 1000000000 seconds, not '20000d'"),
        ("max_retries", True, "not true"),
        ("output_max", 0, "a size of at least 1 byte"),
        ("output_max", "much", "a size of at least 1 byte"),
        ("output_max", "2000T", "at most 1125899906842624 bytes, not '2000T'"),
        pytest.param("keep_dead_count", 10**5000, "not a number with too many digits", id="long"),
        ("kill_grace", [], "duration"),
        ("rescan_interval", 0, "from 0.1 to 3600"),
        ("fsync", "yes", "true or false"),
        ("fsync", 1, "true or false"),
        ("keep_done", 0, "greater than 0"),
        ("keep_done_count", -1, "whole number"),
        ("keep_dead_count", "7d", "whole number"),
        ("on_done", "", "a shell command"),
        ("on_dead", " \n", "a shell command"),
        ("on_dead", "a\0b", "a shell command"),
        ("on_dead", "a\udcffb", "a shell command"),
        ("on_idle", True, "a shell command"),
        ("hook_timeout", 0, "greater than 0"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(key: str, value: Any, allowed: str) -> None:
    with pytest.raises(InvalidSetting, match=f"{key}.*{allowed}"):
        check({key: value})


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("max_retrys", "unknown setting 'max_retrys'; did you mean max_retries"),
        ("backoff-base", "did you mean backoff_base"),
        ("keepdone", "did you mean keep_done"),
        ("xyz", "unknown setting 'xyz'; choose from max_retries"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(key: str, hint: str) -> None:
    with pytest.raises(InvalidSetting, match=hint):
        check({key: 1})


def test_the_defaults_are_those_of_the_contract() -> None:
    assert check({}) == Settings(
        max_retries=3,
        backoff_base=2,
        backoff_max=86400,
        backoff_jitter=0,
        timeout=None,
        kill_grace=10,
        output_max=None,
        rescan_interval=5,
        quiet_period=2,
        fsync=True,
        keep_done=None,
        keep_dead=None,
        keep_done_count=None,
        keep_dead_count=None,
        on_done=None,
        on_dead=None,
        on_idle=None,
        hook_timeout=60,
    )


def test_the_template_sets_nothing_but_the_format() -> None:
    assert tomllib.loads(template()) == {"format": 1}


def test_the_template_shows_every_setting_with_its_default() -> None:
    shown = [line[2:] for line in template().splitlines() if line.startswith("# ")][2:]
    assert [line.split(" = ")[0] for line in shown] == [*describe()]
    known = "\n".join(line for line in shown if "= ..." not in line)
    assert check(tomllib.loads(known)) == Settings()


@pytest.mark.parametrize("key", describe())
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_no_library_speaks_to_the_user(key: str, value: Any) -> None:
    message = refusal_of(lambda: check({key: value}))
    assert key in message or not message
    assert not foreign_words(message)


def test_every_setting_is_described() -> None:
    assert [*describe()] == [*Settings.__struct_fields__]
    assert all(info.meaning and info.allowed for info in describe().values())
