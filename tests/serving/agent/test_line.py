"""Who gets a share when several clients wait."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from virc.core.timeouts import Deadline
from virc.serving.agent.connections import client_of, network
from virc.serving.agent.line import Line, may_have_more
from virc.serving.agent.request_queue import MAX_HELD, MAX_READ, RequestQueue
from virc.serving.chat_request import RefusedError

Fits = Callable[[int, int, int], bool]


def turns(_: int, size: int, free: int) -> bool:
    return size <= free


def room(has: int, size: int, free: int) -> bool:
    return not has or has + size <= free


class Waiting:
    """Clients in a line, and in which order they were served."""

    def __init__(self, amount: int, fits: Fits) -> None:
        self.line = Line(amount, fits)
        self.served: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.number = 0

    async def come(self, *names: str, size: int = 1) -> None:
        """Each name is a client's letter and a word for the request."""
        for name in names:
            self.number += 1
            self.tasks[name] = asyncio.create_task(self.take(name, self.number, size))
            await self.settled()

    async def take(self, name: str, number: int, size: int) -> None:
        await self.line.take(name[0], number, size)
        self.served.append(name)

    async def go(self, name: str, size: int = 1) -> None:
        self.line.give_back(name[0], size)
        await self.settled()

    async def settled(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)


def test_clients_take_turns_and_each_keeps_its_order() -> None:
    async def play() -> list[str]:
        line = Waiting(1, turns)
        await line.come("a1", "a2", "a3", "a4", "b1", "c1", "b2")
        for number in range(6):
            await line.go(line.served[number])
        return line.served

    assert asyncio.run(play()) == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


def test_one_client_alone_has_all_turns() -> None:
    async def play() -> list[str]:
        line = Waiting(3, turns)
        await line.come("a1", "a2", "a3", "a4")
        return line.served

    assert asyncio.run(play()) == ["a1", "a2", "a3"]


def test_a_request_that_is_ready_late_keeps_its_number() -> None:
    async def play() -> list[str]:
        line = Waiting(1, turns)
        await line.come("a0")
        late = asyncio.create_task(line.take("a-late", 9, 1))
        early = asyncio.create_task(line.take("a-early", 8, 1))
        await line.settled()
        await line.go("a0")
        await line.go("a-early")
        await asyncio.gather(late, early)
        return line.served

    assert asyncio.run(play()) == ["a0", "a-early", "a-late"]


def test_a_client_has_room_for_one_and_leaves_room_to_others() -> None:
    async def play() -> list[str]:
        line = Waiting(10, room)
        await line.come("a1", "a2", "a3", size=3)  # with the third it would have more than is left
        await line.come("b1", size=50)
        await line.come("c1")
        await line.go("b1", 50)
        assert line.served == ["a1", "a2", "b1", "c1"]
        await line.go("a1", 3)
        return line.served

    assert asyncio.run(play())[-1] == "a3"


def test_what_one_gives_back_is_given_out_whole() -> None:
    async def play() -> list[str]:
        line = Waiting(10, room)
        await line.come("a1", size=10)
        await line.come("b1", "b2", "b3", size=2)
        await line.go("a1", 10)
        return line.served

    assert asyncio.run(play()) == ["a1", "b1", "b2", "b3"]


def test_who_leaves_lets_the_next_request_of_the_client_have_what_is_free() -> None:
    async def play() -> list[str]:
        line = Waiting(10, room)
        await line.come("a1")
        await line.come("a2", size=50)
        await line.come("a3")
        line.tasks["a2"].cancel()
        await line.settled()
        return line.served

    assert asyncio.run(play()) == ["a1", "a3"]


@pytest.mark.parametrize("served", [False, True])
def test_who_leaves_passes_the_share_on(served: bool) -> None:
    async def play() -> list[str]:
        line = Waiting(1, turns)
        await line.come("a1", "b1", "c1")
        if served:  # in the same moment
            line.line.give_back("a")
        line.tasks["b1"].cancel()
        await line.settled()
        if not served:
            await line.go("a1")
        return line.served

    assert asyncio.run(play()) == ["a1", "c1"]


def test_a_share_is_not_lost_to_one_who_leaves_in_the_same_moment() -> None:
    async def play() -> list[str]:
        line = Waiting(1, turns)
        await line.come("a1", "b1", "b2", "c1")
        line.tasks["b1"].cancel()
        line.tasks["b2"].cancel()
        await line.go("a1")
        await line.go("c1")
        await line.come("d1")
        return line.served

    assert asyncio.run(play()) == ["a1", "c1", "d1"]


def test_one_client_holds_half_of_the_bytes_and_all_hold_no_more_than_there_are() -> None:
    queue = RequestQueue(1)
    first, second, other, last = (queue.place(client) for client in ("a", "a", "b", "c"))
    first.add(MAX_HELD // 2 - 1)
    second.add(1)
    with pytest.raises(RefusedError, match="too much is being sent"):
        second.add(1)
    other.add(MAX_HELD // 2)
    with pytest.raises(RefusedError, match="too much is being sent"):
        last.add(1)
    first.end()
    second.add(MAX_HELD // 2 - 1)
    assert (queue.held, queue.held_of) == (MAX_HELD, {"a": MAX_HELD // 2, "b": MAX_HELD // 2})


def test_who_was_answered_finds_a_place_again() -> None:
    queue = RequestQueue(1, 3)
    for _ in range(3):
        queue.place("b")
    with pytest.raises(RefusedError, match="too many requests are waiting"):  # the last one is for others
        queue.place("b")
    queue.place("a")
    queue = RequestQueue(1, 3)
    for _ in range(20):
        queue.place("a").end()
    assert (queue.taken, queue.places_of) == (0, {})


def test_room_is_given_back_once() -> None:
    async def play() -> None:
        queue = RequestQueue(1, 9)
        hold, one, other = (queue.place(client) for client in "abb")
        await hold.room(MAX_READ, Deadline(None))
        hold.release()
        hold.end()
        await one.room(MAX_READ // 2, Deadline(None))
        with pytest.raises(RefusedError, match="no answer within"):
            await other.room(MAX_READ // 2, Deadline(0.02))
        early, late = (queue.place("a") for _ in range(2))
        await hold.room(MAX_READ, Deadline(None))
        waiting = [asyncio.create_task(each.room(MAX_READ, Deadline(None))) for each in (late, early)]
        for _ in range(3):
            await asyncio.sleep(0)
        hold.release()
        await asyncio.wait_for(waiting[1], 60)  # whoever came first, though it asked later
        assert not waiting[0].done()
        waiting[0].cancel()

    asyncio.run(play())


def test_one_client_fills_half_and_the_next_finds_a_place() -> None:
    taken = 0
    while may_have_more(taken, taken, 100):
        taken += 1
    other = 0
    while may_have_more(other, taken + other, 100):
        other += 1
    assert (taken, other) == (51, 25)
    assert not may_have_more(0, 100, 100)
    assert may_have_more(0, 0, 1)


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a name", "a name"),
        ("", ""),
    ],
)
def test_a_client_is_an_address_or_a_network_of_ipv6(host: str, client: str) -> None:
    assert network(host) == client


@pytest.mark.parametrize(("keys", "client"), [(None, "192.0.2.1"), ("k", "192.0.2.1"), (("j", "k"), "key 1")])
def test_a_client_is_its_key_where_each_has_its_own(keys: Any, client: str) -> None:
    app = SimpleNamespace(state=SimpleNamespace(served=SimpleNamespace(api_key=keys)))
    host, headers = SimpleNamespace(host="192.0.2.1"), {"authorization": "Bearer k"}
    request: Any = SimpleNamespace(app=app, client=host, headers=headers)
    assert client_of(request) == client


def test_a_share_counts_by_its_size() -> None:
    async def two() -> None:
        line = Line(10, lambda has, size, free: not has or has + size <= free)
        await line.take("a", 0, 4)
        second = asyncio.create_task(line.take("a", 1, 3))  # with it, 7 of 6 that are free
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not second.done()
        line.give_back("a", 4)
        await asyncio.wait_for(second, 60)

    asyncio.run(two())
