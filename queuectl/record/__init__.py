"""Records and what follows from them: jobs, attempts, settings. Pure: no I/O and no clock."""
