"""A server that says nothing until its client hangs up."""

import threading
from collections.abc import Callable
from contextlib import suppress

from support.servers import Exchange


class Silence:
    """A fault: `begin` answering, then wait until the client hangs up; `ended` counts those who did."""

    def __init__(self, begin: Callable[[Exchange], None] = lambda _: None) -> None:
        self.begin, self.began, self.ended = begin, threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, exchange: Exchange) -> None:
        self.begin(exchange)
        self.began.release()
        with suppress(OSError):
            if not exchange.connection.recv(1):
                self.ended.release()
        exchange.close_connection = True
