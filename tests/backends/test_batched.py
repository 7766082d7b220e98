import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from test_kv_cache import RECURRENT
from test_local import GREEDY, WARM, after, first

from virc.backends import checkpoint
from virc.backends.interface import OnText, Sampling
from virc.backends.local import LocalBackend, load
from virc.reasoning.session import Reply

Result = list[Reply] | BaseException
Conversation = Callable[[], list[Reply]]


@pytest.fixture
def backend(tiny: Callable[..., Path]) -> LocalBackend:
    backend = load(tiny(), device="cpu")
    backend.draw_together()
    return backend


def together(works: Sequence[Conversation]) -> list[Result]:
    """What each gives or raises, all at a time in threads that begin together."""
    results: dict[int, Result] = {}
    begin = threading.Barrier(len(works))

    def run(number: int) -> None:
        begin.wait()
        try:
            results[number] = works[number]()
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [results[number] for number in range(len(works))]


def talk(
    backend: LocalBackend, seed: int, sampling: Sampling, turns: int = 1, on_text: OnText | None = None
) -> list[Reply]:
    """The replies of a conversation that shows another picture at every turn."""
    ask = first(backend, seed, question="What is it? " * (seed + 1))
    replies = [backend.reply(ask, sampling, on_text)]
    for _ in range(turns - 1):
        ask = after(backend, ask, replies[-1])
        replies.append(backend.reply(ask, sampling, on_text))
    return replies


@pytest.mark.integration
@pytest.mark.parametrize("family", [family for family in checkpoint.FAMILIES if family not in RECURRENT])
def test_replies_are_those_of_one_at_a_time(tiny: Callable[..., Path], family: str) -> None:
    plans = [
        (0, GREEDY, 3),
        (1, WARM, 2),
        (2, Sampling(max_tokens=3), 4),
        (3, Sampling(temperature=0.7, seed=9, max_tokens=17), 1),
        (4, Sampling(max_tokens=1), 2),
    ]
    alone = load(tiny(family), device="cpu")
    expected = [talk(alone, *plan) for plan in plans]
    several = load(tiny(family), device="cpu")
    several.draw_together()
    found = together([lambda plan=plan: talk(several, *plan) for plan in plans])  # type: ignore[misc]
    assert found == expected
