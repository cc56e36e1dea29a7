"""The web child: uvicorn on the listening socket it inherits, so that a restart refuses nobody."""

from __future__ import annotations

import socket
import sys

import uvicorn

GRACE_SECONDS = 4


def main() -> None:
    """Serve on the file descriptor named by the first argument until SIGTERM."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    config = uvicorn.Config(
        "waimai.asgi:application",
        # Whose word about the client's address to take is decided by waimai.infra.http alone.
        proxy_headers=False,
        access_log=False,
        log_level="warning",
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
