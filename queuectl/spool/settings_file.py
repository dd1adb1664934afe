"""The file `queue.toml`: read freely, written only under its lock, with its comments kept."""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Iterator
from typing import Any

from queuectl.disk import locks
from queuectl.disk.durable import Disk
from queuectl.disk.reading import read_regular
from queuectl.errors import InvalidSetting, SpoolUnusable
from queuectl.record.settings import FORMAT, Settings, check, setting_named
from queuectl.record.wording import shown, toml_problem
from queuectl.spool.layout import Layout

MAX_BYTES = 1 << 20
"""The most that is read of queue.toml."""


class SettingsFile:
    """`queue.toml`. `current()` returns what is in it now, at the cost of one lstat."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen: tuple[int, ...] | None = None
        self._settings = Settings()

    def current(self) -> Settings:
        """Return the settings. Raises InvalidSetting, SpoolUnusable; `last_good` is then kept."""
        try:
            found = os.lstat(self._layout.settings)
        except FileNotFoundError:
            return self._settings
        version = (found.st_ino, found.st_size, found.st_mtime_ns)
        if version != self._seen:
            self._seen = version
            self._settings = check(self.values())
        return self._settings

    @property
    def last_good(self) -> Settings:
        """The settings that `current()` last returned."""
        return self._settings

    def values(self) -> dict[str, Any]:
        """Return what the file sets. Raises SpoolUnusable, InvalidSetting."""
        return self._values_in(self.text())

    def _values_in(self, text: str) -> dict[str, Any]:
        try:
            values = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: huge integers
            raise InvalidSetting(f"{self._layout.settings}: {toml_problem(error)}") from None
        stated = values.pop("format", FORMAT)
        if not isinstance(stated, int) or stated > FORMAT:
            raise SpoolUnusable(
                f"{self._layout.root} is a spool of format {shown(stated)}; this queuectl knows "
                f"format {FORMAT}: upgrade queuectl"
            )
        return values

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
        """Go back to a setting's default. Raises InvalidSetting for an unknown key."""
        setting_named(key)
        self._edit(key, None, disk)

    def replace(self, before: str, after: str, disk: Disk) -> None:
        """Write a whole new text in place of the one that was read; the old one may be invalid.

        Raises InvalidSetting if the new text is not valid, or the old one is not there any more.
        """
        with self._locked(disk):
            check(self._values_in(after))
            if self.text() != before:
                raise InvalidSetting(
                    f"{self._layout.settings} was changed meanwhile: edit it again"
                )
            self._write(after, disk)

    def _write(self, text: str, disk: Disk) -> None:
        disk.overwrite(self._layout.settings, text.encode(), staged=self._layout.staged())
        disk.commit(self._layout.root)

    def _edit(self, key: str, value: Any, disk: Disk) -> None:
        import tomlkit

        with self._locked(disk):
            self.values()  # a file that is broken, or of another format, must not be rewritten
            try:
                document = tomlkit.parse(self.text())
            except (ValueError, RecursionError) as error:
                problem = toml_problem(error)
                raise InvalidSetting(f"{self._layout.settings}: {problem}") from None
            if value is None:
                document.pop(key, None)
            else:
                document[key] = value
            self._write(tomlkit.dumps(document), disk)

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

    def text(self) -> str:
        """Return the file's text; "" if it is missing. Raises InvalidSetting."""
        try:
            return read_regular(self._layout.settings, MAX_BYTES)[0].decode()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise InvalidSetting(f"{self._layout.settings}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            problem = f"not UTF-8 at byte {error.start}"
            raise InvalidSetting(f"{self._layout.settings}: {problem}") from None


def _parse(text: str) -> Any:
    """Read a value as TOML would, anything else as a string: `3`, `true`, `7d`."""
    try:
        value = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return value["value"] if len(value) == 1 else text
