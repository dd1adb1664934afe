"""A worker: one process that runs jobs, and all that it does beside them."""
