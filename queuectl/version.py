"""The version of queuectl."""

__version__ = "0.1.0"
