"""Which ids a rollout by transformers draws, where its replies end and how likely they were, without verl."""

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from support.stand_ins import bare, imported

LIBRARIES: Mapping[str, Mapping[str, Any]] = {
    "ray": {},
    "verl.utils.config": {"omega_conf_to_dataclass": lambda config, **_: config},
    "verl.workers.config": bare("HFModelConfig"),
    "verl.workers.rollout.base": bare("BaseRollout"),
    "verl.workers.rollout.replica": bare("RolloutReplica", "TokenOutput"),
}
END, STOP = 9, 8


@pytest.fixture(scope="module")
def rollout() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        return imported(patch, "virc.engines.verl.rollout", LIBRARIES)


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


class Network:
    """A model that says the ids of its script, whatever it is asked; `generate` does what transformers' does."""

    def __init__(self, torch: Any, *script: Sequence[int]) -> None:
        self.torch, self.script, self.given = torch, script, dict[str, Any]()
        self.config = SimpleNamespace(
            image_token_id=7, tie_word_embeddings=True, get_text_config=lambda: SimpleNamespace(vocab_size=10)
        )
        self.generation_config = SimpleNamespace(eos_token_id=[END])

    def eval(self) -> "Network":
        return self

    def generate(
        self, input_ids: Any, max_new_tokens: int, logits_processor: Any, stopping_criteria: Any, pad_token_id: int,
        **given: Any,
    ) -> Any:  # fmt: skip
        self.given, done = given, self.torch.zeros(len(input_ids), dtype=bool)
        for step in range(max_new_tokens):
            logits = self.torch.zeros(len(input_ids), 10)
            for row, ids in enumerate(self.script[: len(input_ids)]):
                logits[row, ids[min(step, len(ids) - 1)]] = 9.0
            chosen = logits_processor(input_ids, logits).argmax(-1).masked_fill(done, pad_token_id)
            input_ids = self.torch.cat([input_ids, chosen[:, None]], 1)
            done |= stopping_criteria(input_ids, None)
            if done.all():
                break
        return input_ids


def request(rollout: Any, ids: list[int], most: int = 6, seed: int = 1, **sampling: Any) -> Any:
    return rollout.Request(ids, [], rollout.sampling_of(sampling), most, seed, None)


@pytest.fixture
def drawing(rollout: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Loads a server with a network in place of a model's."""

    def loaded(network: Network, dtype: str = "float32") -> Any:
        asked: list[Any] = []

        def from_pretrained(path: str, **given: Any) -> Network:
            asked.append((path, given))
            return network

        monkeypatch.setattr(rollout, "AutoModelForImageTextToText", SimpleNamespace(from_pretrained=from_pretrained))
        monkeypatch.setattr(
            rollout, "never_said", lambda tokenizer, vocabulary: rollout.torch.tensor([6, vocabulary - 3])
        )
        tokenizer = SimpleNamespace(**vars(TOKENIZER), eos_token_id=STOP)
        model = SimpleNamespace(processor=None, tokenizer=tokenizer, local_path="/models/a")
        server = rollout.Server(SimpleNamespace(dtype=dtype, prompt_length=10, response_length=6, seed=1), model)
        server.asked = asked
        return server

    return loaded


def test_each_reply_has_its_own_ids_and_as_many_chances(rollout: Any, drawing: Any) -> None:
    """However long the others are: none has padding, or ids of its prompt or of its neighbour."""
    script = ([1, 2, 1, 2, END], [3, 1, STOP], [2, 2, 5], [4, 4, 4, 4, 4])
    server = drawing(Network(rollout.torch, *script))
    server._step = 12
    batch = [
        request(rollout, ids, most, temperature=0, stop_token_ids=[5], repetition_penalty=1.5)
        for ids, most in (([1], 6), ([1, 2, 3], 6), ([4, 4], 6), ([9, 9, 9, 9], 4))
    ]
    found = server._draw(batch)
    assert [each.token_ids for each in found] == [[1, 2, 1, 2, END], [3, 1, STOP], [2, 2, 5], [4, 4, 4, 4]]
    sure = float(rollout.torch.tensor([9.0, *[0.0] * 9]).log_softmax(0)[0])
    assert [[round(each, 4) for each in reply.log_probs] for reply in found] == [
        [round(sure, 4)] * length for length in (5, 3, 3, 4)
    ]
    assert {(each.stop_reason, each.extra_fields["global_steps"]) for each in found} == {("completed", 12)}
    given = server._model.given
    assert (given["do_sample"], given["repetition_penalty"]) == (False, 1.5)
    assert given["attention_mask"].tolist() == [[0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1]]


def test_what_is_never_said_is_not_drawn_at_any_temperature(rollout: Any, drawing: Any) -> None:
    server = drawing(Network(rollout.torch, [6], [7]))
    for temperature in (0, 1.0):
        for reply in server._draw([request(rollout, [1], seed=seed, temperature=temperature) for seed in (1, 2)]):
            assert not {6, 7} & set(reply.token_ids)


def test_a_reply_of_a_batch_is_that_of_its_seed_alone(rollout: Any, drawing: Any) -> None:
    server = drawing(Network(rollout.torch, [0, 0, 0], [0, 0, 0]))
    alone = [server._draw([request(rollout, [1, 2], seed=seed, temperature=9)])[0].token_ids for seed in (5, 6)]
    together = server._draw([request(rollout, ids, seed=seed, temperature=9) for ids, seed in (([1, 2], 5), ([3], 6))])
    assert [each.token_ids for each in together] == alone


@pytest.mark.parametrize(("dtype", "number"), [("float32", "float64"), ("bfloat16", "bfloat16")])
def test_a_model_is_loaded_in_numbers_that_batches_cannot_move(
    rollout: Any, drawing: Any, dtype: str, number: str
) -> None:
    network = Network(rollout.torch, [1])
    network.generation_config = SimpleNamespace(eos_token_id=END, repetition_penalty=2.0)
    server = drawing(network, dtype)
    ((path, given),) = server.asked
    assert (path, given["dtype"], given["trust_remote_code"]) == ("/models/a", getattr(rollout.torch, number), False)
    assert server._ends == {END, STOP}
    assert network.generation_config.repetition_penalty in (None, 1.0)  # its own settings change no reply


class Remote:
    """A Ray actor whose methods note what they are called with."""

    def __init__(self) -> None:
        self.called: list[tuple[str, *tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        async def remote(*given: Any) -> bool:
            self.called.append((name, *given))
            return True

        return SimpleNamespace(remote=remote)


@pytest.fixture
def actors(rollout: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Remote]:
    """Ray's actors by their names."""
    made: dict[str, Remote] = {}

    def options(name: str, **_: Any) -> Any:
        return SimpleNamespace(remote=lambda *given: made.setdefault(name, Remote()))

    ray = SimpleNamespace(
        remote=lambda kind: SimpleNamespace(options=options), get_actor=made.__getitem__, put=lambda value: value
    )
    monkeypatch.setattr(rollout, "ray", ray)
    return made


@pytest.mark.parametrize("rank", [0, 3])
def test_weights_of_a_step_go_to_the_server_of_their_process(
    rollout: Any, actors: dict[str, Remote], rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas = [rollout.Replica(world_size=1, replica_rank=each, config=1, model_config=2) for each in range(4)]
    for replica in replicas:
        asyncio.run(replica.launch_servers())
    assert len(actors) == 4
    assert [each.called for each in actors.values()] == [[("ready",)]] * 4  # nothing is asked of a model that loads
    monkeypatch.setenv("RANK", str(rank))
    sender = rollout.WeightsSender(config=SimpleNamespace(dtype="bfloat16"))
    weight = rollout.torch.nn.Parameter(rollout.torch.tensor([1.5, 2.0]))
    asyncio.run(sender.update_weights(iter([("a", weight)]), global_steps=7))
    (server,) = replicas[rank].servers
    (_, (name, weights, step)) = server.called
    assert (name, step, weights["a"].dtype) == ("load", 7, rollout.torch.bfloat16)
    weight.data.zero_()  # the next step is under way while they are loaded
    assert weights["a"].tolist() == [1.5, 2.0]
    assert not weights["a"].requires_grad
    assert sum(len(each.called) for each in actors.values()) == 5


def test_what_this_rollout_cannot_do_is_refused(rollout: Any, actors: dict[str, Remote]) -> None:
    with pytest.raises(ValueError, match="set tensor_model_parallel_size to 1"):
        asyncio.run(rollout.Replica(world_size=2, replica_rank=0, config=1, model_config=2).launch_servers())
    sender = rollout.WeightsSender(config=SimpleNamespace(dtype="float32"))
    for given in ({"peft_config": {"r": 8}}, {"wire_format": "delta"}):
        with pytest.raises(ValueError, match=r"set actor_rollout_ref\.model\.lora\.merge"):
            asyncio.run(sender.update_weights([], **given))
    assert actors == {}
