"""A spool: its names, its reader, its disk, its settings and its claims; and how one is opened."""

from __future__ import annotations

import contextlib
import os
import stat

from queuectl.disk import filesystem
from queuectl.disk.durable import Disk, discard
from queuectl.disk.reading import exists, kind
from queuectl.errors import InvalidSetting, QueuectlError, SpoolUnusable
from queuectl.record.settings import template
from queuectl.spool.claims import Claims
from queuectl.spool.layout import Layout
from queuectl.spool.reader import Reader
from queuectl.spool.settings_file import SettingsFile


class Spool:
    """A spool directory. Safe to use from several threads and by any number of processes."""

    def __init__(self, root: str) -> None:
        self.reader = Reader(root)
        self.layout = self.reader.layout
        self.settings = SettingsFile(self.layout)
        self._told = ""  # the last error of the settings, which is logged once
        self.disk = Disk(
            sync=self._fsync_now(), file_mode=self.dir_mode & 0o666, on=filesystem.about(root)
        )
        self.claims = Claims(self.reader, self.disk)

    @property
    def dir_mode(self) -> int:
        """The mode of the spool's directories."""
        return self.reader.dir_mode

    def make_directories(self) -> None:
        """Make the directories that are missing. Raises SpoolUnusable if one is something else.

        A symbolic link is refused: what is done in a spool stays in it.
        """
        for directory in self.layout.directories:
            self.disk.make_dir(directory, self.dir_mode)
            if not stat.S_ISDIR(os.lstat(directory).st_mode):
                raise SpoolUnusable(
                    f"{directory} must be a directory, but is {kind(os.lstat(directory).st_mode)}"
                )

    def write_beside(self, path: str, data: bytes) -> None:
        """Write a small file that is not a job, whole or not at all, over an older one."""
        self.disk.overwrite(path, data, staged=self.layout.staged())
        self.disk.commit(os.path.dirname(path))

    def _fsync_now(self) -> bool:
        """Return the setting `fsync`; True, which is safe, where it cannot be read now.

        So whoever looks, stops, cancels or enqueues needs no valid settings.
        """
        try:
            return self.settings.current(wait=False).fsync
        except (OSError, InvalidSetting):
            return True

    def load_settings(self) -> None:
        """Read `queue.toml`, for those who decide by it. Raises InvalidSetting, OSError."""
        self.disk.sync = self.settings.current().fsync

    def refresh_settings(self) -> None:
        """Read `queue.toml` again if it has changed; if it is not valid, keep the last settings."""
        try:
            self.load_settings()
            self._told = ""
        except (OSError, QueuectlError) as error:
            if str(error) != self._told:
                import logging  # not at the top: an enqueue needs none

                logging.getLogger(__name__).error("keeping the last valid settings: %s", error)
                self._told = str(error)

    def check_private(self, *, allow_shared: bool) -> None:
        """Check that nobody else may write to the spool; with `allow_shared`, trust all who may.

        Whoever may put a file into `pending/`, or a hook into the settings, runs commands as the
        worker's user. Raises SpoolUnusable.
        """
        if allow_shared:
            self.reader.trusted_owners = None
            return
        for path in (self.layout.root, *self.layout.directories, self.layout.settings):
            try:
                found = os.stat(path)
            except FileNotFoundError:  # settings that nobody has made
                continue
            if found.st_uid not in (os.geteuid(), 0):
                problem = f"belongs to uid {found.st_uid}"
            elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                problem = f"is writable by others (mode {stat.S_IMODE(found.st_mode):03o})"
            else:
                continue
            raise SpoolUnusable(
                f"{path} {problem}: whoever may write there runs commands as you; "
                "remove the permission (chmod go-w) or trust them with --allow-shared"
            )


def open_spool(root: str, *, create: bool) -> Spool:
    """Open a spool, making what is missing of it. Raises SpoolUnusable.

    Without `create` a directory that is not a spool is refused; with it a missing or empty one
    becomes a spool, private to its user.
    """
    root = os.path.abspath(root)
    if not any(map(os.path.exists, Layout(root).marks)):
        if not create:
            raise SpoolUnusable(f"there is no spool at {root}: `queuectl enqueue` makes one")
        _make_root(root)
    spool = Spool(root)
    spool.make_directories()
    if not exists(spool.layout.settings):
        staged = spool.layout.staged()
        spool.disk.write(staged, template().encode())
        with contextlib.suppress(FileExistsError):
            spool.disk.publish(staged, spool.layout.settings)
        discard(staged)
    return spool


def _make_root(root: str) -> None:
    try:
        if exists(root) and not os.path.isdir(root):
            raise FileExistsError
        if os.path.isdir(root) and os.listdir(root):
            # Another process may have made the spool since it was looked for.
            if not any(map(os.path.exists, Layout(root).marks)):
                raise SpoolUnusable(
                    f"{root} is not a spool, and is not empty: choose another directory"
                )
            return
        os.makedirs(os.path.dirname(root), exist_ok=True)
        Disk().make_dir(root, 0o700)
    except (FileExistsError, NotADirectoryError):
        raise SpoolUnusable(f"{root} is not a directory") from None
