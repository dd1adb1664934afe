"""What a job is and what follows from an attempt: pure, without I/O and without a clock."""
