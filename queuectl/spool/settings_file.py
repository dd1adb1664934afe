"""The file `queue.toml`: read freely, written only under its lock, with its comments kept.

Anybody may edit it, and not every program replaces a file in one step: `cat >` and some editors
empty it first. So there is one rule for all who read it. While a process has the file open for
writing, it is not ready; nor is an empty file, or one that is not TOML, that has changed within the
last `quiet_period`. Until the file is ready the last good settings hold, and whoever has none yet
waits, at most `PATIENCE` seconds. A file that is ready says what it says: an empty one that every
setting has its default, and a broken one is an error, while the last good settings still hold.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import tomllib
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from queuectl import clock
from queuectl.disk import locks
from queuectl.disk.durable import Disk
from queuectl.disk.reading import CLOCK_TICK, NotRegular, has_writer, read_regular
from queuectl.errors import InvalidSetting, QueuectlError, SpoolUnusable
from queuectl.record.settings import FORMAT, Settings, check, describe, setting_named
from queuectl.record.wording import shown, toml_problem
from queuectl.spool.layout import Layout

MAX_BYTES = 1 << 20
"""The most that is read of queue.toml."""
PATIENCE = 10.0
"""Seconds to wait for a file that is not ready."""
_SECONDS_BETWEEN_LOOKS = 0.05

_Version = tuple[int, ...]


class _NotReady(InvalidSetting):
    """The file is empty or broken, and was so only just now."""


class _Content(Struct, frozen=True):
    """The file at one look, ready: its text, and what it sets, or why that cannot be read.

    While `version` is that of the file, it has not changed; None if that cannot be told.
    """

    text: str = ""
    values: dict[str, Any] = {}
    problem: InvalidSetting | None = None
    version: _Version | None = None


class _Known(Struct, frozen=True):
    """The last good settings, and what is wrong with the file since, if anything is."""

    settings: Settings | None = None
    problem: QueuectlError | None = None
    version: _Version | None = None


class SettingsFile:
    """`queue.toml`. `current()` returns what is in it now, at the cost of one lstat."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.settings
        self._layout = layout
        self._known = _Known()
        self._unready: tuple[_Version, float] = (), 0.0  # the version, and when it was first seen

    def current(self, *, wait: bool = True) -> Settings:
        """Return the settings in the file; the last good ones while the file is not ready.

        If there are no good ones yet, waits for it; without `wait`, raises InvalidSetting. Raises
        InvalidSetting, SpoolUnusable, OSError; `last_good` is then kept.
        """
        try:
            if _version(os.lstat(self._path)) != self._known.version:
                self._read(wait)
        except FileNotFoundError:  # perhaps just being replaced
            return self.last_good
        if self._known.problem is not None:
            raise self._known.problem.with_traceback(None)
        return self.last_good

    @property
    def last_good(self) -> Settings:
        """The settings that `current()` last returned; the defaults if it never has."""
        return self._known.settings or Settings()

    def values(self) -> dict[str, Any]:
        """Return what the file sets, right or wrong. Raises SpoolUnusable, InvalidSetting."""
        return self._stated(self._present())

    def value(self, key: str) -> Any:
        """Return one setting: the value in the file, or the default.

        Raises InvalidSetting if the value is not allowed, or there is no such setting.
        """
        default, content = setting_named(key).default, self._present()
        values = self._stated(content)
        try:
            check({each: value for each, value in values.items() if each == key})
        except InvalidSetting as error:
            raise self._located(error, content.text) from None
        return values.get(key, default)

    def shown_values(self) -> dict[str, Any]:
        """Return every setting's value; one that is not allowed as text, as messages show it."""
        values = self.values()
        return {
            name: _if_allowed(name, values[name]) if name in values else info.default
            for name, info in describe().items()
        }

    def set(self, key: str, text: str, disk: Disk) -> Any:
        """Set one setting to a value given as text; comments stay. Returns the value.

        A command is taken literally, though it may look like TOML. Raises InvalidSetting for an
        unknown key or a value outside its range.
        """
        value = text if setting_named(key).is_text else _parse(text)
        check({key: value})
        self._edit(key, value, disk)
        return value

    def unset(self, key: str, disk: Disk) -> None:
        """Remove a key, so that the setting has its default. Raises InvalidSetting for a key that
        is unknown, unless the file has it.
        """
        if key not in self.values():
            setting_named(key)
        self._edit(key, None, disk)

    def text(self) -> str:
        """Return the file's text, right or wrong; "" if it is missing. Raises InvalidSetting."""
        content = self._present()
        if content.problem is not None and not content.text:
            raise content.problem
        return content.text

    def replace(self, before: str, after: str, disk: Disk) -> None:
        """Write a whole new text in place of the one that was read; the old one may be invalid.

        Raises InvalidSetting if the new text is not valid, or the old one is not there any more.
        """
        with self._locked(disk):
            self._checked(self._parsed(after.encode()))
            if self.text() != before:
                raise InvalidSetting(f"{self._path} was changed meanwhile: edit it again")
            self._write(after, disk)

    def _edit(self, key: str, value: Any, disk: Disk) -> None:
        import tomlkit

        with self._locked(disk):
            content = self._present()
            self._stated(content)  # what is broken, or of another format, must not be rewritten
            try:
                document = tomlkit.parse(content.text)
            except (ValueError, RecursionError) as error:
                raise InvalidSetting(f"{self._path}: {toml_problem(error)}") from None
            if value is None:
                document.pop(key, None)
            else:
                document[key] = value
            self._write(tomlkit.dumps(document), disk)

    def _write(self, text: str, disk: Disk) -> None:
        disk.overwrite(self._path, text.encode(), staged=self._layout.staged())
        disk.commit(self._layout.root)

    @contextlib.contextmanager
    def _locked(self, disk: Disk) -> Iterator[None]:
        from filelock import FileLock, Timeout

        # Never a soft lock: if its process dies, it blocks everyone for good.
        path, patience = self._layout.settings_lock, locks.LONGEST_WAIT
        lock = FileLock(path, mode=disk.file_mode, timeout=patience, fallback_to_soft=False)
        try:
            lock.acquire()
        except Timeout:
            raise locks.held_too_long(path, patience) from None
        try:
            yield
        finally:
            lock.release()

    # -- read ------------------------------------------------------------------------------

    def _read(self, wait: bool) -> None:
        """Read the file, and note what is good or wrong in it. Raises OSError."""
        known = self._known.settings
        try:
            content = self._content(wait=wait and known is None)
        except _NotReady:
            if known is None:
                raise
            return
        settings, problem = known, None
        try:
            settings = self._checked(content)
        except (InvalidSetting, SpoolUnusable) as error:
            problem = error
        self._known = _Known(settings, problem, content.version)

    def _content(self, *, wait: bool = True) -> _Content:
        """Read the file when it is ready. Raises InvalidSetting, OSError."""
        deadline = clock.monotonic() + (PATIENCE if wait else 0.0)
        while True:
            try:
                return self._look()
            except _NotReady:
                if clock.monotonic() >= deadline:
                    raise
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _present(self) -> _Content:
        """Read the file when it is ready; one that is missing sets nothing."""
        try:
            return self._content()
        except FileNotFoundError:
            return _Content()

    def _look(self) -> _Content:
        """Read the file as it is now. Raises _NotReady, OSError, and InvalidSetting for what is
        not a file, or may not be read.
        """
        now = clock.now()
        try:
            data, found = read_regular(self._path, MAX_BYTES)
        except (NotRegular, PermissionError) as error:
            raise InvalidSetting(f"{self._path}: {error.strerror}") from None
        content = self._parsed(data)
        half_written = content.problem or not content.text.strip()
        if has_writer(self._path) or (half_written and not self._is_quiet(found, now)):
            why = content.problem or f"{self._path}: {'empty' if half_written else 'open'}"
            raise _NotReady(f"{why} (somebody is writing it: try again)")
        if found.st_ctime < now - CLOCK_TICK:  # else a later change could leave the same ctime
            content = msgspec.structs.replace(content, version=_version(found))
        return content

    def _parsed(self, data: bytes) -> _Content:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            problem = f"{self._path}: not UTF-8 at byte {error.start}"
            return _Content(problem=InvalidSetting(problem))
        try:
            return _Content(text, tomllib.loads(text))
        except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: huge integers
            problem = f"{self._path}: {toml_problem(error)}"
            return _Content(text, problem=InvalidSetting(problem))

    def _is_quiet(self, found: os.stat_result, now: float) -> bool:
        """Whether nobody has changed the file for `quiet_period`.

        By its ctime or, where the clock of its file system is ahead of ours, by what was seen.
        """
        version, seen = _version(found), clock.monotonic()
        if self._unready[0] != version:
            self._unready = version, seen
        quiet_for = max(now - found.st_ctime, seen - self._unready[1])
        return quiet_for >= self.last_good.quiet_period

    def _stated(self, content: _Content) -> dict[str, Any]:
        if content.problem is not None:
            raise content.problem
        stated = content.values.get("format", FORMAT)
        if not isinstance(stated, int) or stated > FORMAT:
            raise SpoolUnusable(
                f"{self._layout.root} is a spool of format {shown(stated)}; this queuectl knows "
                f"format {FORMAT}: upgrade queuectl"
            )
        return {key: value for key, value in content.values.items() if key != "format"}

    def _checked(self, content: _Content) -> Settings:
        try:
            return check(self._stated(content))
        except InvalidSetting as error:
            raise self._located(error, content.text) from None

    def _located(self, error: InvalidSetting, text: str) -> InvalidSetting:
        """Return the error with the file and the line of the key that it is about."""
        if error.key is None:
            return error
        key = re.escape(error.key)
        found = re.search(rf"""^\s*\[*\s*(["']?){key}\1\s*[]=.]""", text, re.MULTILINE)
        line = f"line {text.count(chr(10), 0, found.end()) + 1}: " if found else ""
        return InvalidSetting(f"{self._path}: {line}{error}", key=error.key)


def _version(found: os.stat_result) -> _Version:
    """Return a value that changes whenever somebody changes the file, or puts another in its place.

    Not by the mtime, which `cp -p` and `touch -r` set back.
    """
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns


def _if_allowed(name: str, value: Any) -> Any:
    try:
        check({name: value})
    except InvalidSetting:
        return value if isinstance(value, str) else shown(value)
    return value


def _parse(text: str) -> Any:
    """Read a value as TOML would, anything else as a string: `3`, `true`, `7d`."""
    try:
        value = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return value["value"] if len(value) == 1 else text
