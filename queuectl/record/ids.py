"""Job ids: which texts are one, and which stand in for a text that is not."""

from __future__ import annotations

import functools
import re

from queuectl.errors import InvalidInput

ID_PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


_match_id = functools.lru_cache(1024)(re.compile(ID_PATTERN).fullmatch)  # asked often of a few


_NOT_ID = re.compile("[^A-Za-z0-9._-]+")


def is_id(text: str) -> bool:
    """Whether this may be a job's id."""
    return _match_id(text) is not None


def check_id(text: str) -> str:
    """Return the id, or raise InvalidInput: what is no id never reaches the disk."""
    if not is_id(text):
        raise InvalidInput(
            f"{text!r} is not a job id: 1 to 100 of A-Z a-z 0-9 . _ -, the first a letter or digit"
        )
    return text


def id_from_name(stem: str) -> str:
    """Return the id nearest to a file name that is none, for a file that must be kept."""
    text = _NOT_ID.sub("_", stem).lstrip("._-")[:100]
    return text if is_id(text) else "unnamed"


def numbered(job_id: str, number: int) -> str:
    """Return `ID.2`, `ID.3`...: the name of a job whose id is taken, within an id's length."""
    suffix = f".{number}"
    return job_id[: 100 - len(suffix)] + suffix
