import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from test_kv_cache import RECURRENT, rendered
from test_local import GREEDY, WARM, after, first

from virc.backends import batched, checkpoint
from virc.backends.batched import Batch, Piece
from virc.backends.interface import OnText, Sampling
from virc.backends.local import LocalBackend, load
from virc.core.errors import EngineError, SetupError
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.session import Ask, Reply, Session
from virc.tools.registry import known

TRIANGLE = Path(__file__).parents[1] / "pictures" / "triangle.png"

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


def test_two_of_different_lengths_are_drawn_as_each_alone(tiny: Callable[..., Path], backend: LocalBackend) -> None:
    alone, sampling = load(tiny(), device="cpu"), Sampling(max_tokens=3)
    expected = [talk(alone, seed, sampling) for seed in (0, 3)]
    works = [lambda seed=seed: talk(backend, seed, sampling) for seed in (0, 3)]  # type: ignore[misc]
    assert together(works) == expected


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


@pytest.mark.integration
def test_the_embedded_model_says_the_same_in_a_batch() -> None:
    protocol = read_protocol(EMBEDDED_FOLDER / FILE_NAME)

    def ask(backend: LocalBackend, number: int) -> Ask:
        with Image.open(TRIANGLE) as triangle:
            shown = triangle.convert("RGB").resize((224 + 28 * (number % 4), 224 + 28 * (number % 3)))
        asked = Session(protocol, "What is m∠B in triangle MBH?", [shown], backend.grid, tools=known()).next()
        assert isinstance(asked, Ask)
        return asked

    alone, several = load(EMBEDDED_FOLDER, "cpu"), load(EMBEDDED_FOLDER, "cpu")
    several.draw_together()
    limits = [Sampling(max_tokens=20 + 6 * seed) for seed in range(8)]
    expected = [[alone.reply(ask(alone, seed), limits[seed])] for seed in range(8)]
    asks = [lambda seed=seed: [several.reply(ask(several, seed), limits[seed])] for seed in range(8)]  # type: ignore[misc]
    assert together(asks) == expected
    assert len({reply[0].token_ids for reply in expected}) > 4


@pytest.mark.integration
def test_a_conversation_costs_its_length_and_its_images_once(backend: LocalBackend) -> None:
    slots: list[tuple[int, int]] = []

    def work(seed: int) -> list[Reply]:
        replies = talk(backend, seed, GREEDY, turns=3)
        assert backend._batch is not None
        slot = backend._batch._slot_of_thread()
        slots.append((slot.tokens_fed - (replies[-1].prompt_tokens or 0), slot.vision_encodings))
        return replies

    together([lambda seed=seed: work(seed) for seed in range(3)])  # type: ignore[misc]
    assert slots == [(11, 3)] * 3  # nobody asked for what comes after the last id drawn


@pytest.mark.integration
def test_steps_are_shared_and_the_text_streams(backend: LocalBackend) -> None:
    steps: list[int] = []
    hook = backend.cached.network.lm_head.register_forward_pre_hook(lambda _, given: steps.append(len(given[0])))
    pieces: list[list[str]] = [[] for _ in range(6)]
    works = [lambda seed=seed: talk(backend, 0, GREEDY, 1, pieces[seed].append) for seed in range(6)]  # type: ignore[misc]
    found = together(works)
    hook.remove()
    assert len(steps) < sum(steps) / 2
    for result, said in zip(found, pieces, strict=True):
        assert isinstance(result, list)
        assert "".join(said) == result[0].text
        assert len(said) > 1


@pytest.mark.integration
def test_what_the_listener_raises_ends_that_reply_alone(backend: LocalBackend, tiny: Callable[..., Path]) -> None:
    said: list[str] = []

    def interrupt(piece: str) -> None:
        said.append(piece)
        if len(said) == 3:
            raise KeyboardInterrupt

    works: list[Conversation] = [
        lambda: talk(backend, 0, WARM, 2, interrupt),
        lambda: talk(backend, 1, GREEDY, 2),
        lambda: talk(backend, 2, GREEDY, 2),
    ]
    found = together(works)
    alone = load(tiny(), device="cpu")
    assert isinstance(found[0], KeyboardInterrupt)
    assert found[1:] == [talk(alone, 1, GREEDY, 2), talk(alone, 2, GREEDY, 2)]
    assert together(works[1:]) == found[1:]  # slots are given on


@pytest.mark.integration
def test_first_turns_are_read_without_a_mask(backend: LocalBackend) -> None:
    masked: list[bool] = []

    def note(_: object, given: tuple[object, ...], named: dict[str, object]) -> None:
        masked.append(named["attention_mask"] is not None)

    layer = backend.cached.network.model.language_model.layers[0]
    with layer.register_forward_pre_hook(note, with_kwargs=True):
        together([lambda seed=seed: talk(backend, seed, GREEDY, 2) for seed in range(2)])  # type: ignore[misc]
    assert masked[0] is False, "a mask keeps attention from its fastest kernels"
    assert 1 <= masked.count(False) <= 2, "later ones see what their row of the cache holds, of any length"


@pytest.mark.integration
@pytest.mark.parametrize("said", ["CUDA out of memory. Tried", "shape mismatch"])
def test_a_failing_row_costs_itself_alone(backend: LocalBackend, tiny: Callable[..., Path], said: str) -> None:
    expected = [talk(load(tiny(), device="cpu"), seed, GREEDY) for seed in range(3)]
    long = first(backend, 3, question="long " * 200)
    assert len(rendered(backend, long.messages, long.images).ids) > 400

    def fail(_: object, given: tuple[object, ...], named: dict[str, object]) -> None:
        hidden = given[0] if given else named["hidden_states"]
        if hidden.shape[1] > 400:  # type: ignore[attr-defined]
            raise RuntimeError(said)

    layer = backend.cached.network.model.language_model.layers[1]
    hook = layer.register_forward_pre_hook(fail, with_kwargs=True)
    works: list[Conversation] = [
        lambda seed=seed: talk(backend, seed, GREEDY)  # type: ignore[misc]
        for seed in range(3)
    ]
    found = together([*works, lambda: [backend.reply(long, GREEDY)]])
    hook.remove()
    assert found[:3] == expected
    assert isinstance(found[3], SetupError if "memory" in said else EngineError)
    assert ("--concurrency" in (found[3].hint or "")) == ("memory" in said)


@pytest.mark.integration
def test_a_conversation_that_is_too_long_fails_and_the_others_go_on(backend: LocalBackend) -> None:
    long = first(backend, question="é" * 2100)
    found = together([lambda: [backend.reply(long, GREEDY)], lambda: talk(backend, 1, GREEDY)])
    assert isinstance(found[0], EngineError)
    assert "the model takes 4096" in found[0].message
    assert isinstance(found[1], list)


@pytest.mark.integration
def test_a_row_that_became_no_number_does_not_spoil_the_next_conversation_in_it(
    backend: LocalBackend, tiny: Callable[..., Path]
) -> None:
    def spoil(_: object, given: tuple[object, ...]) -> object:
        return (given[0] * float("nan"), *given[1:])  # type: ignore[operator]

    ask = first(backend, question="long " * 40)
    layer = backend.cached.network.model.language_model.layers[0]
    hook = layer.register_forward_pre_hook(spoil)
    with pytest.raises(EngineError, match="not a number"):
        backend.reply(ask, GREEDY)
    hook.remove()
    asks = [first(backend, seed) for seed in range(2)]
    assert [backend.reply(each, GREEDY) for each in asks] == [
        load(tiny(), device="cpu").reply(each, GREEDY) for each in asks
    ]


@pytest.mark.integration
def test_the_cache_grows_with_the_longest(backend: LocalBackend, tiny: Callable[..., Path]) -> None:
    alone = load(tiny(), device="cpu")
    plan = Sampling(max_tokens=220)
    works = [lambda seed=seed: talk(backend, seed, plan) for seed in (0, 40)]  # type: ignore[misc]
    assert together(works) == [talk(alone, seed, plan) for seed in (0, 40)]


def test_who_waits_goes_on_when_another_leaves_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    class Seated:
        def __init__(self, _: Batch, number: int) -> None:
            self.number = number

    steps, waits = list[int](), threading.Event()
    monkeypatch.setattr(batched, "BatchSlot", Seated)
    batch = Batch(None)  # type: ignore[arg-type]

    def step(group: Sequence[Piece]) -> None:
        steps.extend(piece.slot.number for piece in group)
        for piece in group:
            piece.result.put(RuntimeError("drawn"))

    monkeypatch.setattr(batch, "_step", step)

    def draw() -> None:
        with batch.slot() as slot:
            waits.set()
            batch.feed(Piece(slot, 0, [1], None, {}, SimpleQueue()))  # type: ignore[arg-type]

    with batch.slot():
        drawing = threading.Thread(target=draw, daemon=True)
        drawing.start()
        assert waits.wait(60)
        assert steps == []
    drawing.join(60)
    assert steps == [1]


class Rows(Batch):
    """A batch whose network is a function of the ids: what it raises costs what it is of."""

    def __init__(self, limit: int = 10**6, broken: int = -1) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.limit, self.broken, self.wiped, self.fed = limit, broken, list[int](), list[list[int]]()
        self._cache.wipe = self.wiped.append  # type: ignore[method-assign]

    def _logits(self, group: Sequence[Piece]) -> Any:
        self.fed.append([piece.ids[0] for piece in group])
        if len(group) * max(len(piece.ids) for piece in group) > self.limit:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if any(piece.ids[0] == self.broken for piece in group):
            raise ValueError("a shape")
        return [piece.ids[0] for piece in group]


def step(batch: Rows, *ids: list[int]) -> list[Any]:
    """What each piece with these ids gets of one step."""
    pieces = [Piece(SimpleNamespace(number=at), 0, each, None, {}, SimpleQueue()) for at, each in enumerate(ids)]  # type: ignore[arg-type]
    batch._step(pieces)
    return [piece.result.get(timeout=1) for piece in pieces]


def test_a_step_for_which_memory_does_not_suffice_is_taken_in_parts_from_then_on() -> None:
    batch = Rows(limit=12)
    assert step(batch, [1] * 5, [2] * 5, [3] * 5, [4] * 5) == [1, 2, 3, 4]
    assert batch.fed == [[1, 2, 3, 4], [1, 2], [3, 4]]
    batch.fed.clear()
    assert step(batch, [1] * 5, [2] * 5, [3] * 5, [4] * 5) == [1, 2, 3, 4]
    assert batch.fed == [[1, 2], [3, 4]]  # it is not tried again
    assert batch.wiped == []
    first, second, third = step(batch, [1] * 2, [2] * 13, [3] * 2)
    assert (first, third) == (1, 3)
    assert (type(second), batch.wiped) == (SetupError, [1])
    batch.fed.clear()
    assert step(batch, [1] * 9, [2]) == [1, 2]  # with padding as many as could not be read at once
    assert batch.fed == [[1], [2]]
    assert "reading 13 tokens: 2.00 GiB could not be allocated" in second.message


def test_a_row_that_became_no_number_is_wiped_and_costs_its_conversation_alone() -> None:
    import torch

    hidden = SimpleNamespace(last_hidden_state=torch.tensor([[[1.0]], [[float("nan")]]]))
    network = SimpleNamespace(model=lambda **_: hidden, lm_head=lambda last: last)

    class Spoiled(Rows):
        def _inputs(self, group: Sequence[Piece]) -> tuple[list[int], dict[str, Any]]:
            return [0, 1], {}

        _logits = Batch._logits  # type: ignore[assignment]

    batch = Spoiled()
    batch.model = SimpleNamespace(network=network)  # type: ignore[assignment]
    first, second = step(batch, [1], [2])
    assert (first.tolist(), type(second), batch.wiped) == ([1.0], EngineError, [1])


def test_a_step_that_fails_is_taken_one_by_one() -> None:
    batch = Rows(broken=2)
    found = step(batch, [1], [2], [3])
    assert [found[0], type(found[1]), found[2]] == [1, ValueError, 3]
    assert batch.wiped == [1]
    assert step(batch, [1], [3]) == [1, 3]  # others are drawn together as before
    assert batch.fed[-1] == [1, 3]


def test_rows_of_the_cache_are_kept_as_it_grows_and_read_by_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a layer sees is what was written to that row, whichever rows are fed and however wide the cache is."""
    import torch

    monkeypatch.setattr(batched, "_COLUMNS", 4)
    cache, held = batched.RowCache(), dict[int, list[float]]()
    number = iter(range(1, 1000))
    for rows, width in (([0, 1], 3), ([1], 2), ([0, 1, 2], 1), ([2, 0], 4), ([1, 2], 1)):
        starts = [len(held.get(row, [])) for row in rows]
        seen = cache.plan_step(rows, starts, width, torch.device("cpu"))
        new = [[float(next(number)) for _ in range(width)] for _ in rows]
        assert (seen is None) == (not any(starts))  # a mask keeps attention from its fastest kernels
        tensor = torch.tensor(new)[:, None, :, None]
        layers = [cache.update(tensor * factor, -tensor * factor, layer) for layer, factor in ((0, 1), (1, 2))]
        for at, row in enumerate(rows):
            held[row] = held.get(row, []) + new[at]
            for factor, (keys, values) in enumerate(layers, 1):
                assert keys[at, 0, : len(held[row]), 0].tolist() == [factor * each for each in held[row]]
                assert values[at, 0, : len(held[row]), 0].tolist() == [-factor * each for each in held[row]]
            if seen is not None:
                wanted = [[column <= starts[at] + id_ for column in range(seen.shape[-1])] for id_ in range(width)]
                assert seen[at].tolist() == wanted
    cache.wipe(1)
    assert not cache._layers[0][0][1].any()
    assert cache._layers[0][0][[0, 2]].any(dim=(1, 2, 3)).all()
    assert cache.ends[1] == 0


@pytest.mark.parametrize(
    ("lengths", "fed"),
    [
        ([1, 1, 1, 1, 30], [0, 1, 2, 3]),  # one that reads waits until it is worth a step
        ([1, 1, 1, 30], [3]), ([1, 1, 30, 40], [2, 3]), ([10, 21, 20, 4], [0, 2]), ([20, 10, 9, 41], [0, 1]),
    ],
)  # fmt: skip
def test_pieces_of_about_one_length_are_fed_together(lengths: list[int], fed: list[int]) -> None:
    pieces = [Piece(None, 0, [0] * length, None, {}, SimpleQueue()) for length in lengths]  # type: ignore[arg-type]
    assert [pieces.index(each) for each in batched._next_group(pieces)] == fed


@pytest.mark.parametrize(
    ("numbers", "width", "rows"),
    [([0, 2], 1, [0, 1, 2]), ([0, 3], 1, [0, 1, 2, 3]),
     ([0, 4], 1, [0, 4]), ([0, 2], 5, [0, 2]), ([3], 1, [3])],
)  # fmt: skip
def test_rows_between_are_computed_where_that_is_less_work(numbers: list[int], width: int, rows: list[int]) -> None:
    assert batched._rows_to_compute(numbers, width) == rows


def test_a_row_that_is_computed_with_others_keeps_what_it_holds() -> None:
    import torch

    batch = Batch(SimpleNamespace(network=SimpleNamespace(device=torch.device("cpu"), dtype=torch.float32)))  # type: ignore[arg-type]

    def feed(value: float, *pieces: tuple[int, int, int]) -> list[int]:
        group = [
            Piece(SimpleNamespace(number=row), start, [1] * count, torch.zeros(3, 1, count), {}, SimpleQueue())  # type: ignore[arg-type]
            for row, start, count in pieces
        ]
        rows, inputs = batch._inputs(group)
        new = torch.full((len(rows), 1, inputs["input_ids"].shape[1], 1), value)
        batch._cache.update(new, new, 0)
        return rows

    feed(1.0, (0, 0, 3), (1, 0, 3), (2, 0, 3))
    feed(2.0, (1, 3, 1))
    assert feed(9.0, (0, 3, 1), (2, 3, 1)) == [0, 1, 2]  # less work than to copy two of them
    assert batch._cache._layers[0][0][1, 0, :4, 0].tolist() == [1, 1, 1, 2]
