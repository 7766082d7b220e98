"""A hub of one file that costs next to nothing: `python sendfile_hub.py FILE` prints its address.

As the real one it redirects to where the file is stored; there the kernel sends it, with no copy in this process.
"""

import os
import re
import socket
import sys
import threading
from http import HTTPStatus

_RANGE = re.compile(rb"(?im)^range: bytes=(\d+)-(\d*)\r$")
_MOST = 1 << 30  # bytes that one call of sendfile is asked for


def head(status: HTTPStatus, *lines: str) -> bytes:
    """The first lines of an answer."""
    return "\r\n".join((f"HTTP/1.1 {status.value} {status.phrase}", *lines, "", "")).encode()


def answer(connection: socket.socket, request: bytes, file: int) -> None:
    """Redirect to the storage, or send a range of the file."""
    if b"/resolve/" in request.partition(b"\r\n")[0]:
        connection.sendall(head(HTTPStatus.FOUND, "Location: /storage", "Content-Length: 0"))
        return
    size, found = os.fstat(file).st_size, _RANGE.search(request)
    begins = int(found[1]) if found else 0
    ends = int(found[2]) + 1 if found and found[2] else size
    lines = [f"Content-Length: {ends - begins}", 'ETag: "1"']
    if found:
        lines.append(f"Content-Range: bytes {begins}-{ends - 1}/{size}")
    connection.sendall(head(HTTPStatus.PARTIAL_CONTENT if found else HTTPStatus.OK, *lines))
    while begins < ends:
        begins += os.sendfile(connection.fileno(), file, begins, min(_MOST, ends - begins))


def serve(connection: socket.socket, file: int) -> None:
    """Answer the requests of one connection."""
    received = b""
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(1 << 16):
            received += data
            while b"\r\n\r\n" in received:
                request, _, received = received.partition(b"\r\n\r\n")
                answer(connection, request + b"\r\n", file)


def main(path: str) -> None:
    """Serve until the process is ended."""
    file = os.open(path, os.O_RDONLY)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, file), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1])
