"""What a broken or hostile server does: values for `serve(fault=...)`."""

import json
from collections.abc import Mapping
from contextlib import suppress

from support.servers import Exchange, Fault, error, piece


def status(code: int, message: str = "scripted", headers: Mapping[str, str] | None = None) -> Fault:
    """Answer with an HTTP error."""
    return lambda exchange: exchange.send_json(error(message), code, headers)


def body(data: bytes, kind: str = "application/json", code: int = 200) -> Fault:
    """Answer with exactly these bytes."""
    return lambda exchange: exchange.send_body(data, code, {"Content-Type": kind})


def hang(exchange: Exchange) -> None:
    """Take the request and say nothing."""
    exchange.server.stopping.wait()


def drip(exchange: Exchange) -> None:
    """Send headers, each in time for a socket's time-out; the answer itself comes after some seconds."""
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\n")
    with suppress(OSError):
        for _ in range(40):
            exchange.wfile.write(b"X-Patience: yes\r\n")
            if exchange.server.stopping.wait(0.1):
                return
        exchange.send_header("Content-Type", "text/event-stream")
        exchange.end_headers()
        exchange.wfile.write(b"data: " + json.dumps(piece("<answer>1</answer>", "stop")).encode() + b"\n\n")
    exchange.close_connection = True


def stall(exchange: Exchange) -> None:
    """Stream one piece, then say nothing."""
    exchange.start_events()
    exchange.send_event(piece("<think>"))
    exchange.server.stopping.wait()


def cut(exchange: Exchange) -> None:
    """Stream one piece, then drop the connection."""
    exchange.start_events()
    exchange.send_event(piece("<think>half a "))
    exchange.hang_up()


def unfinished(exchange: Exchange) -> None:
    """Stream one piece and end the body properly, without a finish reason and without [DONE]."""
    exchange.start_events()
    exchange.send_event(piece("<think>half a "))
    exchange.send_chunk(b"")


def endless(data: bytes, code: int = 200, kind: str = "text/event-stream") -> Fault:
    """Send the same bytes until the client hangs up."""

    def send(exchange: Exchange) -> None:
        exchange.start_events(code, kind)
        with suppress(OSError):
            while not exchange.server.stopping.is_set():
                exchange.send_chunk(data)

    return send
