"""The web page: a thin face over `queuectl.Queue`, in the extra `web`.

Starlette serves it and Jinja writes it; the page's own script follows one EventSource. Nothing
here changes the spool but through the Python API, and no page that is only looked at does.
"""
