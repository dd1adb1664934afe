"""The web page: a face of `queuectl.Queue`, in the extra `web`.

Starlette serves it, Jinja renders the templates, and a script follows one EventSource. Everything
here reads and changes the queue through `Queue`, and showing a page changes nothing.
"""
