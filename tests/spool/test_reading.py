"""Looking at files that any program may have made."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from queuectl.disk.reading import DirectoryStamp, has_writer, read_regular


@pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")
def test_a_file_has_a_writer_while_it_is_open_for_writing(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("w"):
        assert has_writer(str(path))
    assert not has_writer(str(path))


@pytest.mark.parametrize(("size", "read"), [(9, 9), (10, 10), (11, 11), (5000, 11)])
def test_no_more_is_read_of_a_file_than_one_byte_above_the_limit(
    tmp_path: Path, size: int, read: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    data, found = read_regular(str(path), 10)
    assert (len(data), found.st_size) == (read, size)


def test_a_link_is_not_followed_and_a_fifo_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo"):
        with pytest.raises(OSError, match=r"symbolic link|No such device|FIFO"):
            read_regular(str(tmp_path / name), 10)


@pytest.mark.parametrize(
    ("earlier", "later", "holds"),
    [
        (DirectoryStamp(1, True), DirectoryStamp(1, True), True),
        (DirectoryStamp(1, True), DirectoryStamp(2, True), False),
        (DirectoryStamp(1, False), DirectoryStamp(1, True), False),
        (None, DirectoryStamp(1, True), False),
    ],
)
def test_a_listing_holds_only_if_no_change_can_have_the_same_time(
    earlier: DirectoryStamp | None, later: DirectoryStamp, holds: bool
) -> None:
    assert later.confirms(earlier) is holds
