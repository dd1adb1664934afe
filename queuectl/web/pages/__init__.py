"""The pages of the web page with their actions, one module each, and what programs ask for."""
