"""An image fetched for a client of an agent endpoint: over https, from a public address, bounded in bytes and time."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future

from virc.core.web.fetch import Fetch, FetchError, Rules
from virc.serving.chat_request import RefusedError

RULES = Rules(schemes=("https",), redirects=3, seconds=20.0, most_bytes=32 * 2**20)
"""No proxy is used: it would connect to addresses that this server cannot check."""
_THREADS = threading.BoundedSemaphore(256)  # a client's own name server may never answer
_WAIT = 10  # seconds after which a client may try again


async def fetch(url: str, name: str, rules: Rules, hold: Callable[[int], None] = lambda _: None) -> bytes:
    """The content of an https URL, that of the image `name`; the server there gets nothing but the URL.

    Args:
        rules: `seconds` is for the whole, redirects included.
        hold: gets the size of every piece that came; may refuse more.

    Raises:
        RefusedError: it cannot be fetched. The sentence tells nothing about the network that the client does not know.
    """
    loop = asyncio.get_running_loop()

    async def count(size: int) -> None:
        hold(size)

    def on_bytes(size: int) -> None:
        asyncio.run_coroutine_threadsafe(count(size), loop).result(rules.seconds)

    download = Fetch(url, rules, on_bytes)
    done = _in_thread(download)
    try:
        async with asyncio.timeout(rules.seconds):
            return await asyncio.wrap_future(done)
    except TimeoutError:
        raise RefusedError(f"{name} did not arrive within {rules.seconds:g} s", "messages") from None
    except FetchError as error:
        raise RefusedError(f"{name} {_reason(error, rules)}", "messages") from None
    finally:
        download.abort()


def _in_thread(download: Fetch) -> "Future[bytes]":
    """Run a download in a thread of its own, which nobody waits for."""
    if not _THREADS.acquire(blocking=False):
        raise RefusedError("too many images are being fetched: ask again later", status=429, wait=_WAIT)
    done: Future[bytes] = Future()
    done.set_running_or_notify_cancel()  # the thread ends it, even if nobody waits

    def run() -> None:
        try:
            done.set_result(download.run())
        except BaseException as error:  # the future is never left without an end
            done.set_exception(error)
        finally:
            _THREADS.release()

    threading.Thread(target=run, name="agent-fetch", daemon=True).start()
    return done


def _reason(error: FetchError, rules: Rules) -> str:
    match error.kind:
        case "status":
            return f"cannot be fetched: its server answers {error.status}"
        case "large":
            return f"is over {rules.most_bytes >> 20} MiB"
        case "redirect" if "more than" in error.message:
            return f"is redirected more than {rules.redirects} times"
        case "redirect":
            return "is redirected to something else than an https URL"
    return "cannot be fetched: no public server gives it by https"
