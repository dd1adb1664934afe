"""Starts a command, and reaps it when it has ended, without holding up other threads.

subprocess keeps the interpreter's lock from the fork to the exec: a third of a millisecond in
which no other slot runs. posix_spawn(3), called by ctypes, does not. Where it lacks what is needed
here (macOS, old C libraries), subprocess starts the command.
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

from queuectl import slot_lock, trouble

_SETSIGDEF, _SETSID = 0x04, 0x80  # posix_spawn flags, <spawn.h>
_NOT_FOUND = (errno.ENOENT, errno.ENOTDIR)
_STRUCT_BYTES = 1024  # more than any of the structs in <spawn.h> and <signal.h> takes


class NoSuchDirectory(Exception):
    """The directory in which a command is to be started is not one on this host."""


class Child:
    """A command that was started, until it is reaped.

    Its exit status is lost, and None, if something else in this process has reaped it.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None
        self._is_reaped = self._is_lost = False

    @property
    def group(self) -> int | None:
        """The command's process group; None if its number may be a stranger's by now."""
        return None if self._is_lost else self.pid

    def has_ended(self) -> bool:
        """Whether the command has ended. For systems without pidfds, and where they are refused.

        Where there is waitid(2), the command is not reaped: no other process can get its id.
        """
        if not self._is_reaped and hasattr(os, "waitid"):
            with contextlib.suppress(OSError):  # reaped elsewhere, or refused: see below
                flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
                return os.waitid(os.P_PID, self.pid, flags) is not None
        self._wait(os.WNOHANG)
        return self._is_reaped

    def has_failed(self) -> bool:
        """Wait for the end; whether it was anything but exit status 0.

        Where there is waitid(2), the command is not reaped: no other process can get its id.
        """
        if not self._is_reaped and hasattr(os, "waitid"):
            with contextlib.suppress(OSError):
                seen = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
                return seen is None or seen.si_status != 0
        return self.reap() != 0

    def reap(self) -> int | None:
        """Wait for the end; return the exit status, or the number of the signal negated."""
        self._wait(0)
        return self._code

    def _wait(self, flags: int) -> None:
        if self._is_reaped:
            return
        try:
            pid, status = os.waitpid(self.pid, flags)
        except ChildProcessError:
            self._is_reaped = self._is_lost = True
        else:
            if pid:
                self._is_reaped, self._code = True, os.waitstatus_to_exitcode(status)


def start(
    argv: Sequence[str],
    environment: Mapping[bytes, bytes],
    cwd: str | None,
    *,
    output: int,
    inherited: tuple[int, int] | None = None,
) -> Child:
    """Start a command in a session of its own, with /dev/null as its stdin.

    `output` is the descriptor for its stdout and stderr. It gets at most one other descriptor:
    `inherited` is the number of that descriptor here, and its number in the command. A program
    without a slash in its name is searched in the PATH of `environment`. Other threads are not held
    up by a file system that does not answer, on which the directory or the program is. Raises
    NoSuchDirectory, OSError, and ValueError for a NUL character in a word.
    """
    words = [os.fsencode(word) for word in argv]
    if any(b"\0" in word for word in [*words, os.fsencode(cwd or "")]):
        raise ValueError("a NUL character cannot be passed to a program")
    libc = _libc()
    with slot_lock.released():
        try:
            if libc is None:
                return _start_by_subprocess(words, environment, cwd, output, inherited)
            with _file_actions(libc, cwd, output, inherited) as actions:
                return _start_by_posix_spawn(libc, words, environment, actions)
        except OSError as error:
            lacks_room = trouble.owner(error) == "process"
            if cwd is not None and not lacks_room and not os.path.isdir(cwd):
                raise NoSuchDirectory(cwd) from error
            raise


def _start_by_posix_spawn(
    libc: ctypes.CDLL,
    words: Sequence[bytes],
    environment: Mapping[bytes, bytes],
    actions: ctypes.Array[ctypes.c_char],
) -> Child:
    arguments = _strings(words)
    variables = _strings([name + b"=" + value for name, value in environment.items()])
    pid = ctypes.c_int()
    failure = errno.ENOENT
    for program in _programs(words[0], environment):
        code = libc.posix_spawn(
            ctypes.byref(pid), program, actions, _attributes(), arguments, variables
        )
        if code == 0:
            return Child(pid.value)
        if failure in _NOT_FOUND:
            failure = code
    raise OSError(failure, os.strerror(failure), os.fsdecode(words[0]))


@contextlib.contextmanager
def _file_actions(
    libc: ctypes.CDLL, cwd: str | None, output: int, inherited: tuple[int, int] | None
) -> Iterator[ctypes.Array[ctypes.c_char]]:
    """Yield what the new process does with its descriptors and its directory before the exec."""
    actions = ctypes.create_string_buffer(_STRUCT_BYTES)
    _check(libc.posix_spawn_file_actions_init(actions))
    try:
        for descriptor in _inheritable():
            _check(libc.posix_spawn_file_actions_addclose(actions, descriptor))
        _check(libc.posix_spawn_file_actions_addopen(actions, 0, b"/dev/null", os.O_RDONLY, 0))
        for source, target in ((output, 1), (output, 2), *([inherited] if inherited else [])):
            _check(libc.posix_spawn_file_actions_adddup2(actions, source, target))
        if cwd is not None:
            _check(libc.posix_spawn_file_actions_addchdir_np(actions, os.fsencode(cwd)))
        yield actions
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
            with contextlib.suppress(OSError):  # the command may have started
                os.close(descriptor)
    process.returncode = 0  # so that subprocess does not reap it: Child does
    return Child(process.pid)


def _programs(word: bytes, environment: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """Yield the paths at which a program may be, in the order in which execvp(3) tries them."""
    if b"/" in word:
        yield word
        return
    for directory in os.get_exec_path(environment):  # type: ignore[arg-type]  # takes bytes too
        program = os.path.join(os.fsencode(directory), word)
        if not os.path.isabs(program) or os.path.lexists(program):
            yield program


@functools.cache
def _libc() -> ctypes.CDLL | None:
    """The C library, if its posix_spawn can do all that is needed here."""
    if sys.platform != "linux" or not os.path.isdir("/proc/self/fd"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "posix_spawn_file_actions_addchdir_np") else None


@functools.cache
def _inheritable() -> list[int]:
    """The descriptors that this process inherited from its own parent: commands must not get them.

    Descriptors that Python opens are close-on-exec.
    """
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that listdir had open
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return found


@functools.cache
def _attributes() -> ctypes.Array[ctypes.c_char]:
    """A session of its own, and default actions for the signals that Python ignores."""
    libc = ctypes.CDLL(None)
    signals = ctypes.create_string_buffer(_STRUCT_BYTES)
    _check(libc.sigemptyset(signals))
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        _check(libc.sigaddset(signals, int(number)))
    attributes = ctypes.create_string_buffer(_STRUCT_BYTES)
    _check(libc.posix_spawnattr_init(attributes))
    _check(libc.posix_spawnattr_setsigdefault(attributes, signals))
    _check(libc.posix_spawnattr_setflags(attributes, ctypes.c_short(_SETSIGDEF | _SETSID)))
    return attributes


def _strings(values: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    """A NULL-terminated array, as argv and environ are."""
    return (ctypes.c_char_p * (len(values) + 1))(*values, None)


def _check(code: int) -> None:
    if code != 0:
        raise OSError(code, os.strerror(code))
