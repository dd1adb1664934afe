"""Job ids: which texts are valid ids, and ids made from texts that are not."""

from __future__ import annotations

import functools
import re

from queuectl.errors import InvalidInput
from queuectl.record.wording import shown

ID_PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
ID_RULE = "an id is 1 to 100 letters, digits, '.', '_' or '-', and starts with a letter or digit"
"""The pattern in words, for messages; letters are A-Z and a-z."""


_match_id = functools.lru_cache(1024)(
    re.compile(ID_PATTERN).fullmatch
)  # a few ids are checked often


_NOT_ID = re.compile("[^A-Za-z0-9._-]+")


def is_id(text: str) -> bool:
    """Whether a text is a valid job id."""
    return _match_id(text) is not None


def check_id(text: str) -> str:
    """Return the id, or raise InvalidInput: an invalid id never reaches the disk."""
    if not is_id(text):
        raise InvalidInput(f"{shown(text)} is not a valid id: {ID_RULE}")
    return text


def id_from_name(stem: str) -> str:
    """Make an id from a file name that is not one, for a file that must be kept."""
    text = _NOT_ID.sub("_", stem).lstrip("._-")[:100]
    return text if is_id(text) else "unnamed"


def numbered(job_id: str, number: int) -> str:
    """Return `ID.2`, `ID.3`...: the id of a job whose own id is taken, at most 100 characters."""
    suffix = f".{number}"
    return job_id[: 100 - len(suffix)] + suffix
