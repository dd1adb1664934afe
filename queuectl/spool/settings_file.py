"""The settings in `queue.toml`: typed, checked, read freely, written only under their lock.

The types say everything: default, range, meaning. The command line, the template that a new
spool gets and the reference page are made from them.
"""

from __future__ import annotations

import os
import tomllib
from typing import Any

from queuectl.disk.durable import Disk
from queuectl.disk.reading import read_regular
from queuectl.errors import InvalidSetting, SpoolUnusable
from queuectl.record.settings import FORMAT, Settings, check, setting_named, shown
from queuectl.spool.layout import Layout

MAX_BYTES = 1 << 20
"""The most that is read of queue.toml."""


class SettingsFile:
    """`queue.toml`: `current()` is always what stands in it now, at the price of one stat."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen: tuple[int, ...] | None = None
        self._settings = Settings()

    def current(self) -> Settings:
        """Return the settings. Raises InvalidSetting, SpoolUnusable; then the last good stay."""
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
        """The settings as they were when they were last valid."""
        return self._settings

    def values(self) -> dict[str, Any]:
        """Return what the file sets. Raises SpoolUnusable, InvalidSetting."""
        try:
            values = tomllib.loads(self._text())
        except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: huge integers
            raise InvalidSetting(f"{self._layout.settings}: {error}") from None
        stated = values.pop("format", FORMAT)
        if not isinstance(stated, int) or stated > FORMAT:
            raise SpoolUnusable(
                f"{self._layout.root} is a spool of format {shown(stated)}; this queuectl knows "
                f"format {FORMAT}: upgrade it (pip install -U queuectl-spool)"
            )
        return values

    def set(self, key: str, text: str, disk: Disk) -> Any:
        """Set one setting to a value given as text; comments stay. Returns the value.

        A command is taken as it is: it may look like TOML and is none. Raises InvalidSetting for
        an unknown key or a value outside its range.
        """
        value = text if setting_named(key).is_text else _parse(text)
        check({key: value})
        self._edit(key, value, disk)
        return value

    def unset(self, key: str, disk: Disk) -> None:
        """Go back to a setting's default. Raises InvalidSetting for an unknown key."""
        setting_named(key)
        self._edit(key, None, disk)

    def _edit(self, key: str, value: Any, disk: Disk) -> None:
        import tomlkit
        from filelock import FileLock

        # Never the soft lock: one that a dead process leaves behind blocks everyone for good.
        with FileLock(self._layout.settings + ".lock", mode=disk.file_mode, fallback_to_soft=False):
            self.values()  # a file that is broken, or of another format, is not ours to rewrite
            try:
                document = tomlkit.parse(self._text())
            except (ValueError, RecursionError) as error:
                raise InvalidSetting(f"{self._layout.settings}: {error}") from None
            if value is None:
                document.pop(key, None)
            else:
                document[key] = value
            data = tomlkit.dumps(document).encode()
            disk.overwrite(self._layout.settings, data, staged=self._layout.staged())
            disk.commit(self._layout.root)

    def _text(self) -> str:
        try:
            return read_regular(self._layout.settings, MAX_BYTES)[0].decode()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise InvalidSetting(f"{self._layout.settings}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise InvalidSetting(f"{self._layout.settings}: not UTF-8: {error.reason}") from None


def _parse(text: str) -> Any:
    """Read a value as TOML would, anything else as a string: `3`, `true`, `7d`."""
    try:
        value = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return value["value"] if len(value) == 1 else text
