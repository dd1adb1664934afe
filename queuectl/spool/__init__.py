"""The only package that knows the names in a spool: every state of a job and every change of it."""
