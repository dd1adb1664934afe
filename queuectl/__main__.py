"""`python -m queuectl` is the same as `queuectl`."""

from queuectl.cli import main

main()
