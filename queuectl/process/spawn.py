"""A command's own process: started without holding up other threads, and seen to its end.

subprocess keeps the interpreter's lock from the fork to the exec, a third of a millisecond in
which no other slot moves. posix_spawn(3), called through ctypes, does not; where it lacks what
is needed (macOS, old C libraries) subprocess starts the command.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

from queuectl import slot_lock

_SETSIGDEF, _SETSID = 0x04, 0x80  # posix_spawn flags, <spawn.h>
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)
_ROOM = 1024  # bytes, more than any of the structures of <spawn.h> and <signal.h> takes


class Child:
    """A command that was started, until it is reaped."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def has_ended(self) -> bool:
        """Whether the command has ended; for where there is no pidfd to wait for. Reaps it."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code is not None

    def has_failed(self) -> bool:
        """Wait for the end; whether it was another than exit status 0.

        The command is not reaped by that, where that can be: its id cannot be another's.
        """
        if self._code is None and hasattr(os, "waitid"):
            seen = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            return seen is None or seen.si_status != 0
        return self.reap() != 0

    def reap(self) -> int:
        """Wait for the end; return the exit status, or minus the number of the signal."""
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code


def start(
    argv: Sequence[str],
    environment: Mapping[bytes, bytes],
    cwd: str | None,
    *,
    output: int,
    inherited: tuple[int, int] | None = None,
) -> Child:
    """Start a command in a session of its own, with /dev/null as its input.

    `output` is the descriptor for both its outputs; of all others it gets at most one:
    `inherited`, a descriptor of ours and its number in the command. A program without a slash
    in its name is looked for in the PATH of its own environment. Raises OSError, ValueError for
    a NUL in a word.
    """
    words = [os.fsencode(word) for word in argv]
    if any(b"\0" in word for word in [*words, os.fsencode(cwd or "")]):
        raise ValueError("a NUL character cannot be passed to a program")
    libc = _libc()
    if libc is None:
        return _start_by_subprocess(words, environment, cwd, output, inherited)
    actions = ctypes.create_string_buffer(_ROOM)
    _check(libc.posix_spawn_file_actions_init(actions))
    try:
        for descriptor in _inheritable():
            _check(libc.posix_spawn_file_actions_addclose(actions, descriptor))
        _check(libc.posix_spawn_file_actions_addopen(actions, 0, b"/dev/null", os.O_RDONLY, 0))
        for source, target in ((output, 1), (output, 2), *([inherited] if inherited else [])):
            _check(libc.posix_spawn_file_actions_adddup2(actions, source, target))
        if cwd is not None:
            _check(libc.posix_spawn_file_actions_addchdir_np(actions, os.fsencode(cwd)))
        arguments = _strings(words)
        variables = _strings([name + b"=" + value for name, value in environment.items()])
        pid = ctypes.c_int()
        failure = errno.ENOENT
        for program in _programs(words[0], environment):
            with slot_lock.released():
                code = libc.posix_spawn(
                    ctypes.byref(pid), program, actions, _attributes(), arguments, variables
                )
            if code == 0:
                return Child(pid.value)
            if failure in _NOT_THERE:
                failure = code
        raise OSError(failure, os.strerror(failure), argv[0])
    finally:
        libc.posix_spawn_file_actions_destroy(actions)


def _start_by_subprocess(
    words: Sequence[bytes],
    environment: Mapping[bytes, bytes],
    cwd: str | None,
    output: int,
    inherited: tuple[int, int] | None,
) -> Child:
    passed = [fcntl.fcntl(inherited[0], fcntl.F_DUPFD_CLOEXEC, inherited[1])] if inherited else []
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=environment,
            start_new_session=True,
            pass_fds=passed,
        )
    finally:
        for descriptor in passed:
            os.close(descriptor)
    process.returncode = 0  # it is ours to reap
    return Child(process.pid)


def _programs(word: bytes, environment: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """The paths under which a program may be, as execvp(3) would try them."""
    if b"/" in word:
        yield word
        return
    for directory in os.get_exec_path(environment):  # type: ignore[arg-type]  # takes bytes too
        program = os.path.join(os.fsencode(directory), word)
        if not os.path.isabs(program) or os.path.lexists(program):
            yield program


@functools.cache
def _libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux") or not os.path.isdir("/proc/self/fd"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "posix_spawn_file_actions_addchdir_np") else None


@functools.cache
def _inheritable() -> list[int]:
    """The descriptors that this process was given by who started it: no business of commands.

    Those that Python opens are not inherited.
    """
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that listed them
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return found


@functools.cache
def _attributes() -> ctypes.Array[ctypes.c_char]:
    """A session of its own; and the signals that Python ignores, back to their defaults."""
    libc = ctypes.CDLL(None)
    signals = ctypes.create_string_buffer(_ROOM)
    _check(libc.sigemptyset(signals))
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        _check(libc.sigaddset(signals, int(number)))
    attributes = ctypes.create_string_buffer(_ROOM)
    _check(libc.posix_spawnattr_init(attributes))
    _check(libc.posix_spawnattr_setsigdefault(attributes, signals))
    _check(libc.posix_spawnattr_setflags(attributes, ctypes.c_short(_SETSIGDEF | _SETSID)))
    return attributes


def _strings(values: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(values) + 1))(*values, None)


def _check(code: int) -> None:
    if code != 0:
        raise OSError(code, os.strerror(code))
