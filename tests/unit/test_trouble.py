"""Whose trouble an error is, which decides what waits for it."""

from __future__ import annotations

import errno
import os

import pytest

from queuectl.errors import InvalidJob, NotDurable
from queuectl.trouble import owner


@pytest.mark.parametrize(
    ("whose", "names"),
    [
        ("process", ["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"]),
        ("disk", ["ENOSPC", "EDQUOT", "EIO", "EROFS", "ESTALE", "ETIMEDOUT", "ENOTCONN", "ENOLCK"]),
        ("file", ["EBUSY", "EPERM", "EACCES", "ENOENT", "ENOEXEC", "E2BIG", "EXDEV"]),
    ],
)
def test_an_errno_tells_whose_trouble_it_is(whose: str, names: list[str]) -> None:
    for name in names:
        code = getattr(errno, name)
        assert owner(OSError(code, os.strerror(code))) == whose, name


def test_other_errors() -> None:
    assert owner(NotDurable("cannot be made durable")) == "disk"
    assert owner(OSError("without a number")) == "disk"
    assert owner(MemoryError()) == "process"
    assert owner(InvalidJob("not a job")) == "file"
