"""Serves the references as the product is served: uvicorn, a2wsgi, as many threads."""

from __future__ import annotations

import socket
import sys
from typing import Any, cast

import uvicorn
from a2wsgi import WSGIMiddleware
from django.core.wsgi import get_wsgi_application


def main() -> None:
    """Serve on the file descriptor named by the first argument."""
    app = WSGIMiddleware(cast(Any, get_wsgi_application()), workers=16)
    listener = socket.socket(fileno=int(sys.argv[1]))
    config = uvicorn.Config(cast(Any, app), loop="asyncio", http="httptools", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
