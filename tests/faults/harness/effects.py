"""What a traced operation did to a spool's files and directories, in order.

The transcript of its system calls is followed on a model of the file system: files have
versions, directories have changes, and both have the moments at which they were forced to disk.
A moment is an index into the sequence of effects, so "before the crash" is a comparison.
"""

from __future__ import annotations

import bisect
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>\d+)(?:\s|$)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class File:
    """A file's content through time."""

    def __init__(self, start: bytes = b"", mtime_ns: int | None = None) -> None:
        self.start = start
        self.mtime_ns = mtime_ns
        self.versions: list[tuple[int, bytes]] = []
        self.syncs: list[int] = []

    @property
    def content(self) -> bytes:
        """What a reader sees now."""
        return self.versions[-1][1] if self.versions else self.start

    def contents(self, crash: int) -> list[bytes]:
        """Return what may be left of it: all that was synced, and any part of what was not.

        What was written since is there whole, in part, as NULs (its length reached the disk,
        its bytes did not: ext4 without data=ordered) or not at all.
        """
        synced = _last(self.syncs, crash)
        old = self.start
        for when, content in self.versions:
            if when <= synced:
                old = content
        found = [old]
        for when, new in self.versions:
            if synced < when < crash:
                middle = (_common(old, new) + len(new)) // 2
                found += [new[:middle] + old[middle:], b"\0" * len(new), new]
                old = new
        return list(dict.fromkeys(found))


class Change(NamedTuple):
    """A directory entry that was made, replaced, or (`node` is None) removed."""

    when: int
    name: str
    node: Node | None


class Directory:
    """A directory's entries through time."""

    def __init__(self) -> None:
        self.start: dict[str, Node] = {}
        self.now: dict[str, Node] = {}
        self.changes: list[Change] = []
        self.syncs: list[int] = []

    def change(self, when: int, name: str, node: Node | None) -> None:
        """Make, replace or remove an entry."""
        self.changes.append(Change(when, name, node))
        _apply(self.now, name, node)

    def changes_before(self, moment: int) -> int:
        """Count the changes made before a moment."""
        return bisect.bisect_left(self.changes, moment, key=lambda change: change.when)

    def changes_synced(self, crash: int) -> int:
        """Count the changes that were forced to disk before a crash."""
        return self.changes_before(_last(self.syncs, crash))

    def entries(self, changes: int) -> dict[str, Node]:
        """Return the entries as they are with the first so many changes made."""
        entries = dict(self.start)
        for change in self.changes[:changes]:
            _apply(entries, change.name, change.node)
        return entries


Node = File | Directory


class _Call(NamedTuple):
    """A system call that succeeded: its string arguments, all its arguments, its result."""

    name: str
    strings: list[bytes]
    words: list[str]
    result: int

    @property
    def fd(self) -> int:
        return int(self.words[0])

    def path(self, number: int) -> str:
        path = os.fsdecode(self.strings[number])
        assert path.startswith("/"), f"{path}: relative to what?"
        return path


class _Handle:
    """An open file description: dup(2) shares it."""

    def __init__(self, node: Node | None, *, append: bool) -> None:
        self.node = node
        self.append = append
        self.offset = 0


class Effects:
    """The effects under `root`, which is read as it stands before the operation.

    `commits` are the moments at which anything was forced to disk; `acked` is when a first
    byte was written to the file `acks`, outside.
    """

    def __init__(self, root: Path, acks: Path) -> None:
        self._root_path, self._acks_path = str(root), str(acks)
        self._acks = File()
        self._open: dict[int, _Handle] = {}
        self.files: list[File] = []
        self.directories: list[Directory] = []
        self.texts: list[str] = []
        self.commits: list[int] = []
        self.acked: int | None = None
        self._inodes: dict[int, File] = {}
        self.root = self._read(root)

    @property
    def end(self) -> int:
        """The crash point after the last effect."""
        return len(self.texts)

    def names_given(self, file: File, crash: int, *, besides: Node | None) -> list[int]:
        """List when a file got names, before a crash, in all directories but one.

        -1 stands for a name that it had from the start.
        """
        there = [each for each in self.directories if each is not besides]
        found = [-1 for each in there if file in each.start.values()]
        for each in there:
            found += [c.when for c in each.changes if c.node is file and c.when < crash]
        return sorted(found)

    def follow(self, transcript: Sequence[str]) -> None:
        """Do what the calls of a transcript did; calls that failed did nothing."""
        for line in transcript:
            if call := _parse(line):
                act = getattr(self, f"_{call.name}", None)
                assert act is not None, f"what does {call.name} do? {line[:200]}"
                act(call)

    # -- the calls, by name ----------------------------------------------------------------

    def _openat(self, call: _Call) -> None:
        path, flags = call.path(0), call.words[2]
        node = self._acks if path == self._acks_path else self._find(path)
        if node is None and "O_CREAT" in flags and self._inside(path):
            node = File()
            self.files.append(node)
            self._enter("create", path, node)
        elif isinstance(node, File) and "O_TRUNC" in flags and node.content:
            self._write_version("truncate", node, b"")
        self._open[call.result] = _Handle(node, append="O_APPEND" in flags)

    def _close(self, call: _Call) -> None:
        self._open.pop(call.fd, None)

    def _fcntl(self, call: _Call) -> None:
        if call.words[1].startswith("F_DUPFD") and call.fd in self._open:
            self._open[call.result] = self._open[call.fd]

    def _lseek(self, call: _Call) -> None:
        if call.fd in self._open:
            self._open[call.fd].offset = call.result

    def _write(self, call: _Call) -> None:
        handle = self._open.get(call.fd)
        if handle is None or not isinstance(handle.node, File):
            return
        old, count = handle.node.content, call.result
        at = len(old) if handle.append else handle.offset
        new = old[:at].ljust(at, b"\0") + call.strings[0][:count] + old[at + count :]
        handle.offset = at + count
        self._write_version("write", handle.node, new)

    def _pwrite64(self, call: _Call) -> None:
        handle = self._open.get(call.fd)
        if handle is not None and isinstance(handle.node, File):
            old, at, count = handle.node.content, int(call.words[3]), call.result
            new = old[:at].ljust(at, b"\0") + call.strings[0][:count] + old[at + count :]
            self._write_version("write", handle.node, new)

    def _sync_file_range(self, call: _Call) -> None:
        """Bytes reach the disk, and size with whatever is committed next; no name does."""
        handle = self._open.get(call.fd)
        if handle is not None and handle.node is not None:
            handle.node.syncs.append(self._next("write out"))

    def _fsync(self, call: _Call) -> None:
        handle = self._open.get(call.fd)
        if handle is not None and handle.node is not None:
            self._commit("fsync", [handle.node])

    def _syncfs(self, _: _Call) -> None:
        self._commit("syncfs", [*self.files, *self.directories])

    def _rename(self, call: _Call) -> None:
        source, target = call.path(0), call.path(1)
        node = self._find(source)
        assert node is not None, source
        node_over = self._find(target) if "RENAME_EXCHANGE" in call.words[-1] else None
        when = self._enter(f"rename {os.path.basename(source)} to", target, node)
        parent, name = self._parent(source)
        parent.change(when, name, node_over)

    def _link(self, call: _Call) -> None:
        self._enter("link", call.path(1), self._find(call.path(0)))

    def _unlink(self, call: _Call) -> None:
        self._enter("remove", call.path(0), None)

    def _mkdir(self, call: _Call) -> None:
        directory = Directory()
        self.directories.append(directory)
        self._enter("mkdir", call.path(0), directory)

    def _nothing(self, _: _Call) -> None:
        """Modes and locks: no name and no byte depends on them."""

    _renameat2, _linkat, _rmdir = _rename, _link, _unlink
    _chmod = _fchmod = _flock = _nothing

    # -- the model -------------------------------------------------------------------------

    def _read(self, path: Path) -> Directory:
        directory = Directory()
        self.directories.append(directory)
        for entry in sorted(path.iterdir()):
            if entry.is_dir():
                directory.start[entry.name] = self._read(entry)
            else:
                directory.start[entry.name] = self._read_file(entry)
        directory.now = dict(directory.start)
        return directory

    def _read_file(self, path: Path) -> File:
        found = path.stat()
        if found.st_ino not in self._inodes:  # a second name of a file is no second file
            self._inodes[found.st_ino] = File(path.read_bytes(), found.st_mtime_ns)
            self.files.append(self._inodes[found.st_ino])
        return self._inodes[found.st_ino]

    def _inside(self, path: str) -> bool:
        return path.startswith(self._root_path + "/")

    def _find(self, path: str) -> Node | None:
        if path == self._root_path:
            return self.root
        if not self._inside(path):
            return None
        parent, name = self._parent(path)
        return parent.now.get(name)

    def _parent(self, path: str) -> tuple[Directory, str]:
        parent: Node = self.root
        *steps, name = path.removeprefix(self._root_path + "/").split("/")
        for step in steps:
            assert isinstance(parent, Directory), path
            parent = parent.now[step]
        assert isinstance(parent, Directory), path
        return parent, name

    def _enter(self, what: str, path: str, node: Node | None) -> int:
        assert self._inside(path), f"{what} {path}"
        parent, name = self._parent(path)
        when = self._next(f"{what} {os.path.relpath(path, self._root_path)}")
        parent.change(when, name, node)
        return when

    def _write_version(self, what: str, file: File, content: bytes) -> None:
        when = self._next("acknowledge" if file is self._acks else what)
        if file is self._acks and self.acked is None:
            self.acked = when
        file.versions.append((when, content))

    def _commit(self, what: str, nodes: Sequence[Node]) -> None:
        when = self._next(what)
        self.commits.append(when)
        for node in nodes:
            node.syncs.append(when)

    def _next(self, text: str) -> int:
        self.texts.append(text)
        return len(self.texts) - 1


def _apply(entries: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        entries.pop(name)
    else:
        entries[name] = node


def _last(moments: Sequence[int], before: int) -> int:
    """The last of some moments that came before another; -1 if none did."""
    index = bisect.bisect_left(moments, before)
    return moments[index - 1] if index else -1


def _common(one: bytes, other: bytes) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _parse(line: str) -> _Call | None:
    """Take a line of the transcript apart; None for a call that failed, or no call."""
    match = _CALL.match(line)
    if match is None:
        return None
    strings = [
        bytes.fromhex(text.replace("\\x", "")) for text in _STRING.findall(match["arguments"])
    ]
    words = [word.strip() for word in _STRING.sub("S", match["arguments"]).split(",")]
    return _Call(match["name"], strings, words, int(match["result"]))
