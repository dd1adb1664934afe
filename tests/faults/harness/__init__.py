"""Tools that break things: kills and errors at a system call, power cuts, and what must hold."""
