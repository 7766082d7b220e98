"""An image fetched for a client of an agent endpoint: over https, from a public address, bounded in bytes and time."""

import asyncio
import threading
from collections.abc import Callable

from virc.core.http.fetch import Fetch, FetchError, Rules
from virc.core.work.threads import started
from virc.serving.chat_request import RefusedError

RULES = Rules(schemes=("https",), redirects=3, seconds=20.0, max_bytes=32 * 2**20)
"""No proxy is used: it would connect to addresses that this server cannot check."""
_THREADS = threading.BoundedSemaphore(256)  # a client's own name server may never answer
_WAIT = 10  # seconds after which a client may try again


async def fetch(url: str, name: str, rules: Rules, hold: Callable[[int], None] = lambda _: None) -> bytes:
    """The content of an https URL, that of the image `name`; the server there gets nothing but the URL.

    The sentence of an error tells nothing about the network that the client does not know.

    Args:
        rules: `seconds` is for the whole, redirects included.
        hold: gets the size of every piece that came; may refuse more.
    """
    loop = asyncio.get_running_loop()

    async def count(size: int) -> None:
        hold(size)

    def on_bytes(size: int) -> None:
        asyncio.run_coroutine_threadsafe(count(size), loop).result(rules.seconds)

    download, threads = Fetch(url, rules, on_bytes), _THREADS
    if not threads.acquire(blocking=False):
        raise RefusedError("too many images are being fetched: ask again later", status=429, wait=_WAIT)
    done = started(download.run)
    done.add_done_callback(lambda _: threads.release())
    try:
        async with asyncio.timeout(rules.seconds):
            return await asyncio.wrap_future(done)
    except TimeoutError:
        raise RefusedError(f"{name} did not arrive within {rules.seconds:g} s", "messages") from None
    except FetchError as error:
        raise RefusedError(f"{name} {_reason(error, rules)}", "messages") from None
    finally:
        download.abort()


def _reason(error: FetchError, rules: Rules) -> str:
    match error.kind:
        case "status":
            return f"cannot be fetched: its server answers {error.status}"
        case "large":
            return f"is over {rules.max_bytes >> 20} MiB"
        case "redirect" if "more than" in error.message:
            return f"is redirected more than {rules.redirects} times"
        case "redirect":
            return "is redirected to something else than an https URL"
    return "cannot be fetched: no public server gives it by https"
