"""A command's processes: their start, what is left of them, and their end."""
