"""`queuectl worker`: start, stop and list workers."""
