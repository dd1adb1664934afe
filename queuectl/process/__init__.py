"""The processes of a command: start it, wait for it, find and end what is left of it."""
