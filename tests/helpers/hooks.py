"""A hook command that tests use."""

from __future__ import annotations

TELL = 'echo "$QUEUECTL_EVENT $QUEUECTL_JOB_ID" >> '
"""Appends the event and the job's id to the file whose path follows."""
