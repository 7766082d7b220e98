"""Which ids a rollout by transformers draws, where its replies end and how likely they were, without verl."""

import asyncio
import importlib
import math
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

NAME = "virc.engines.verl.rollout"
STAND_INS = {
    "ray": (),
    "verl.utils.config": ("omega_conf_to_dataclass",),
    "verl.workers.config": ("HFModelConfig",),
    "verl.workers.rollout.base": ("BaseRollout",),
    "verl.workers.rollout.replica": ("RolloutReplica", "TokenOutput"),
}
END, STOP = 9, 8


@pytest.fixture(scope="module")
def rollout() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        for name, fields in STAND_INS.items():
            for at in range(name.count(".") + 1):
                part = ".".join(name.split(".")[: at + 1])
                patch.setitem(sys.modules, part, ModuleType(part))
            for field in fields:
                setattr(sys.modules[name], field, type(field, (SimpleNamespace,), {}))
        patch.delitem(sys.modules, NAME, raising=False)
        module = importlib.import_module(NAME)
        patch.delitem(sys.modules, NAME)
    return module


def decoded(rows: Any) -> list[str]:
    return ["".join("abcdefgh.\n"[each] for each in row) for row in rows.tolist()]


TOKENIZER = SimpleNamespace(batch_decode=decoded, pad_token_id=0)


@pytest.mark.parametrize(
    ("most", "stop", "replies", "lengths"),
    [
        ([3, 3], (), [[1, END, 0, 0], [1, 2, 3, 4]], [2, 3]),
        ([9, 2], (), [[1, 2, 3, END], [1, 2, 3, 4]], [4, 2]),
        ([9, 9], (), [[END, 1, END, 2], [1, STOP, 2, END]], [1, 2]),  # what follows an end is no part of it
        ([9, 9], ("bc",), [[1, 2, 3, 1], [3, 1, 2, END]], [2, 3]),  # a stop text of two ids
        ([9, 9], ("bc", "e"), [[3, 4, 1, 2], [1, 3, 3, END]], [2, 4]),
        ([1, 4], ("e",), [[4, 4, 4, 4], [1, 1, 1, 4]], [1, 4]),
    ],
)
def test_each_reply_ends_at_its_own_end(
    rollout: Any, most: list[int], stop: tuple[str, ...], replies: list[list[int]], lengths: list[int]
) -> None:
    """Though others of its batch are longer: neither its prompt nor what is drawn behind its end counts."""
    torch = rollout.torch
    prompt = torch.tensor([[END, 1, 2], [STOP, 4, 1]])  # a prompt has ends and stop texts, too
    ends = rollout.Ends(3, most, {END, STOP}, stop, TOKENIZER)
    drawn = torch.tensor(replies)
    for count in range(1, 5):
        done = ends(torch.cat([prompt, drawn[:, :count]], 1), None)
        assert done.tolist() == [length <= count for length in lengths]
    assert ends.lengths.tolist() == lengths


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0, 0.0])
def test_chances_are_of_the_whole_vocabulary_at_the_temperature(rollout: Any, temperature: float) -> None:
    torch = rollout.torch
    logits = torch.tensor([[1.0, 2.0, 0.0, 3.0], [0.0, 0.0, 1.0, -1.0]])
    drawn = rollout.Drawn(torch.tensor([3]), temperature)
    ids = torch.tensor([[0], [0]])
    for chosen in ([[1], [2]], [[0], [1]]):
        left = drawn(ids, logits)
        assert left[:, 3].tolist() == [-math.inf] * 2  # what is never said is not drawn
        assert left[:, :3].equal(logits[:, :3])
        ids = torch.cat([ids, torch.tensor(chosen)], 1)
    expected = (logits / (temperature or 1.0)).log_softmax(-1)  # of which the barred id is a part
    found = drawn.finish(ids)
    assert found.shape == (2, 2)
    assert found[0].tolist() == pytest.approx([float(expected[0, 1]), float(expected[0, 0])])
    assert found[1].tolist() == pytest.approx([float(expected[1, 2]), float(expected[1, 1])])


def test_a_reply_follows_from_its_own_seed_whoever_is_drawn_with_it(rollout: Any) -> None:
    torch = rollout.torch
    logits = torch.tensor([0.0, 1.0, -math.inf, 2.0]).repeat(2, 1)

    def chosen(*seeds: int, steps: int = 40) -> list[list[int]]:
        pick = rollout.Chosen(seeds, steps)
        return [pick(None, logits[: len(seeds)]).argmax(-1).tolist() for _ in range(steps)]

    alone, together = chosen(7), chosen(3, 7)
    assert [each[0] for each in alone] == [each[1] for each in together]
    assert [each[0] for each in together] != [each[1] for each in together]
    ids = [each[0] for each in chosen(7, steps=900)]
    shares = [ids.count(each) / 900 for each in range(4)]
    assert shares == pytest.approx([0.09, 0.245, 0.0, 0.665], abs=0.05)


@pytest.mark.parametrize(
    ("sampling", "kinds"),
    [
        ({"temperature": 0}, []),
        ({}, ["TemperatureLogitsWarper", "Chosen"]),
        ({"top_k": 5, "top_p": 0.9}, ["TemperatureLogitsWarper", "TopKLogitsWarper", "TopPLogitsWarper", "Chosen"]),
        ({"top_k": -1, "top_p": 1.0, "temperature": 0.5}, ["TemperatureLogitsWarper", "Chosen"]),
    ],
)
def test_ids_are_chosen_by_the_asked_steps(rollout: Any, sampling: dict[str, Any], kinds: list[str]) -> None:
    steps = rollout._choices(rollout.sampling_of(sampling), [1], 4)
    assert [type(each).__name__ for each in steps] == kinds


def test_what_is_asked_of_sampling_is_done_or_refused(rollout: Any) -> None:
    given = {"temperature": 0.5, "top_k": None, "stop": "x", "stop_token_ids": [3], "seed": 4, "max_tokens": 5}
    assert rollout.sampling_of(given | {"logprobs": True}) == rollout.Sampling(
        temperature=0.5, stop=("x",), stop_token_ids=(3,)
    )
    assert rollout.sampling_of({"stop": ["x", "y"]}).stop == ("x", "y")
    with pytest.raises(ValueError, match="knows no sampling parameter min_p"):
        rollout.sampling_of({"min_p": 0.1})


@pytest.fixture
def server(rollout: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server without a model, which draws nothing and keeps what it was to draw together."""
    made = object.__new__(rollout.Server)
    made._config = SimpleNamespace(prompt_length=10, response_length=6, seed=1)
    made._tokenizer, made._waiting, made._drawing, made._step = TOKENIZER, [], None, None
    made.drawn = []
    monkeypatch.setattr(rollout, "_GATHER", 0)

    def draw(batch: Any) -> list[str]:
        made.drawn.append(batch)
        if any(each.ids == [0] for each in batch):
            raise RuntimeError("out of memory")
        return [f"reply to {each.ids}" for each in batch]

    made._draw = draw
    return made


def asked(server: Any, *requests: tuple[list[int], dict[str, Any]]) -> list[Any]:
    async def all_of_them() -> list[Any]:
        calls = (server.generate(ids, given, f"r{at}") for at, (ids, given) in enumerate(requests))
        return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(all_of_them())


def test_requests_alike_are_drawn_together_and_each_gets_its_own_reply(server: Any) -> None:
    replies = asked(server, ([1], {}), ([2], {"temperature": 0.5}), ([3], {"seed": 5}), ([4], {"temperature": 0.5}))
    assert replies == [f"reply to [{number}]" for number in (1, 2, 3, 4)]
    assert [[each.ids for each in batch] for batch in server.drawn] == [[[1], [3]], [[2], [4]]]
    assert server.drawn[0][1].seed == 5
    assert len({each.seed for batch in server.drawn for each in batch}) == 4


@pytest.mark.parametrize(
    ("prompt", "given", "most"),
    [(4, {}, 6), (4, {"max_tokens": 3}, 3), (4, {"max_new_tokens": 2}, 2), (4, {"max_tokens": 99}, 12), (15, {}, 1),
     (30, {"max_tokens": 3}, 1)],
)  # fmt: skip
def test_a_reply_is_no_longer_than_there_is_room(server: Any, prompt: int, given: dict[str, int], most: int) -> None:
    asked(server, ([1] * prompt, given))
    assert server.drawn[0][0].most == most


def test_a_failure_is_told_to_those_it_is_of_and_the_next_are_drawn(server: Any) -> None:
    first, second, third = asked(server, ([0], {}), ([1], {}), ([2], {"temperature": 0.5}))
    assert str(first) == str(second) == "out of memory"
    assert third == "reply to [2]"
    assert asked(server, ([3], {})) == ["reply to [3]"]


def test_prompts_are_padded_on_the_left_and_images_marked(rollout: Any, server: Any) -> None:
    def process(images: list[str], return_tensors: str) -> dict[str, Any]:
        return {"pixel_values": images}

    server._processor = SimpleNamespace(image_processor=process)
    server._model = SimpleNamespace(config=SimpleNamespace(image_token_id=7))
    short, long = (SimpleNamespace(ids=ids, images=images) for ids, images in (([1], []), ([7, 7, 2], ["picture"])))
    inputs = server._inputs([short, long])
    assert inputs["input_ids"].tolist() == [[0, 0, 1], [7, 7, 2]]
    assert inputs["attention_mask"].tolist() == [[0, 0, 1], [1, 1, 1]]
    assert inputs["pixel_values"] == ["picture"]
    assert inputs["mm_token_type_ids"].tolist() == [[0, 0, 0], [1, 1, 0]]
    assert "pixel_values" not in server._inputs([short])


@pytest.mark.parametrize(
    ("left_out", "tied", "ok"),
    [
        ([], False, True),
        (["lm_head.weight"], True, True),
        (["lm_head.weight"], False, False),
        (["a.weight"], True, False),
    ],
)
def test_weights_of_a_step_are_whole(rollout: Any, server: Any, left_out: list[str], tied: bool, ok: bool) -> None:
    found = SimpleNamespace(missing_keys=left_out, unexpected_keys=[])
    config = SimpleNamespace(tie_word_embeddings=tied)
    server._model = SimpleNamespace(load_state_dict=lambda weights, strict: found, config=config)
    if ok:
        asyncio.run(server.load({}, 3))
    else:
        with pytest.raises(RuntimeError, match=f"1 weights are missing or unknown to the rollout: .*{left_out[0]}"):
            asyncio.run(server.load({}, 3))
    assert server._step == (3 if ok else None)
