"""Memory of pictures is counted: who waits for it, who is refused, and that all of it comes back."""

import threading
import time
from collections.abc import Callable

import pytest

from virc.core.limits.image_memory import OWN, SETTING, BusyError, ImageMemory, Terms, TooLargeError, limit, of_client

MIB = 2**20


@pytest.fixture(autouse=True)
def ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of 10 MiB."""
    monkeypatch.setenv(SETTING, "10")


@pytest.fixture
def memory() -> ImageMemory:
    return ImageMemory()


def test_many_never_hold_more_than_the_limit(memory: ImageMemory) -> None:
    most, together = [0], threading.Barrier(8)

    def hold(number: int) -> None:
        together.wait()
        for size in range(1, 11):
            with memory.hold((size + number) % 10 * MIB, "it", of_client()):
                most.append(memory.held)
                time.sleep(0.0002)

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert max(most) <= limit()
    assert (memory.held, len(most)) == (0, 81)


def test_more_than_the_limit_is_refused_with_the_numbers(memory: ImageMemory) -> None:
    with pytest.raises(TooLargeError) as refused, memory.hold(11 * MIB, "it has 9 x 9 px", of_client()):
        pytest.fail("it was let in")
    assert refused.value.message == "it has 9 x 9 px, which take 11 MiB of memory to decode; at most 10 MiB are used"
    assert refused.value.hint == f"make it smaller, or export {SETTING}=11"


def test_whoever_holds_some_never_waits_for_more(memory: ImageMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    with memory.hold(6 * MIB, "it", of_client()):
        with pytest.raises(BusyError), memory.hold(6 * MIB, "it", of_client()):
            pass
        with memory.hold(4 * MIB, "it", of_client()):
            assert memory.held == 10 * MIB
        assert memory.held == 6 * MIB
        monkeypatch.delenv(SETTING)
        with memory.hold(limit(), "it", OWN):  # a file of the user's own is opened all the same
            pass
    assert memory.held == 0


@pytest.mark.parametrize("ending", ["time", "left", "error"])
def test_all_comes_back_however_it_ends(ending: str, memory: ImageMemory) -> None:
    def left() -> None:
        if ending == "left":
            raise KeyboardInterrupt

    def more() -> None:
        with memory.hold(6 * MIB, "it", Terms(True, 0.01 if ending == "time" else 9, left)):
            raise ValueError

    with memory.hold((4 if ending == "error" else 6) * MIB, "it"):
        found = in_thread(more)
    assert type(found) is {"time": BusyError, "left": KeyboardInterrupt, "error": ValueError}[ending]
    assert memory.held == 0


def in_thread(work: Callable[[], object]) -> BaseException | None:
    """What `work` raises in a thread of its own, which holds nothing."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    return raised[0] if raised else None
