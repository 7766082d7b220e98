"""The agent loop, the trainer and the start of a run of verl, on stand-ins for verl's and Ray's own classes."""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from PIL import Image
from support.stand_ins import bare, stand_in

import virc
from virc.core.errors import DataError, EngineError
from virc.engines.verl.agent_ids import Speech, speech
from virc.models.chat_protocol import read_protocol
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.trace import Trace
from virc.rewards.verl import Settings
from virc.systems.registry import Reward
from virc.tools import crop

TINY = Path(virc.__file__).parent / "models" / "tiny"
STAND_INS: Mapping[str, Sequence[str]] = {
    "ray": (),
    "transfer_queue": ("kv_batch_get", "kv_batch_put", "kv_put"),
    "tensordict": ("NonTensorStack", "TensorDict"),
    "verl.experimental.agent_loop.agent_loop": ("AgentLoopBase", "AgentLoopMetrics", "AgentLoopOutput"),
    "verl.trainer.ppo.v1": ("trainer_base",),
    "verl.trainer.ppo.v1.trainer_base": (),
    "verl.trainer.ppo.v1.trainer_sync": ("PPOTrainerSync",),
    "verl.trainer.ppo.v1.replay_buffer": ("ReplayBuffer",),
    "verl.workers.utils.padding": ("response_from_nested",),
    "verl.workers.engine.fsdp.transformer_impl": ("FSDPEngine", "apply_monkey_patch"),
    "verl.trainer.constants_ppo": ("get_ppo_ray_runtime_env",),
    "verl.workers.engine.fsdp": (),
    "verl.trainer.main_ppo": (),
    "omegaconf": ("OmegaConf",),
}


class FSDPEngine:
    """verl's, which builds and shards a model."""

    family = "qwen2_5_vl"

    def __init__(self, learns: bool) -> None:
        self.engine_config = SimpleNamespace(forward_only=not learns)

    def initialize(self) -> None:
        import torch

        built = sys.modules["verl.workers.engine.fsdp.transformer_impl"]
        visual = torch.nn.Linear(2, 2)
        self.module = torch.nn.ModuleDict({"visual": visual, "layers": torch.nn.Linear(2, 4)})
        self.module.base_model = SimpleNamespace(visual=visual)  # type: ignore[assignment]
        self.module.config = SimpleNamespace(model_type=self.family)  # type: ignore[assignment]
        built.apply_monkey_patch(model=self.module, use_remove_padding=True)

    def save_checkpoint(self, local_path: str, hdfs_path: str | None, global_step: int, keep: int | None) -> None: ...


class Base:
    """What verl gives an agent loop."""

    def __init__(self, config: Any, rollout_config: Any, server_manager: Any) -> None:
        self.config, self.rollout_config, self.server_manager = config, rollout_config, server_manager


class Kept(SimpleNamespace):
    """Anything with the fields that it is made of."""


@pytest.fixture
def standing_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Imports a module of `virc.engines.verl` where verl is not installed."""
    stand_in(monkeypatch, {name: bare(*fields) for name, fields in STAND_INS.items()})
    built = sys.modules["verl.workers.engine.fsdp.transformer_impl"]
    built.__dict__.update(apply_monkey_patch=lambda model, use_remove_padding: None)
    sys.modules["verl.workers.engine.fsdp"].__dict__["transformer_impl"] = built
    sys.modules["verl.experimental.agent_loop.agent_loop"].__dict__.update(
        AgentLoopBase=Base,
        AgentLoopOutput=Kept,
        AgentLoopMetrics=lambda: SimpleNamespace(generate_sequences=0.0, tool_calls=0.0),
    )
    sys.modules["verl.workers.engine.fsdp.transformer_impl"].__dict__["FSDPEngine"] = type("_", (FSDPEngine,), {})
    made: list[str] = []

    def found(name: str) -> Any:
        for each in (name, "agent_failures", "sight"):
            monkeypatch.delitem(sys.modules, f"virc.engines.verl.{each}", raising=False)
            made.append(f"virc.engines.verl.{each}")
        return import_module(f"virc.engines.verl.{name}")

    yield found
    for name in made:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def tiny() -> Speech:
    return speech(str(TINY))


LOOK = (
    '<think>closer</think><tool_call>{"name": "crop_image", "arguments": '
    '{"bbox_2d": [0, 0, 56, 56], "image_index": 0}}</tool_call>'
)
RIGHT = "<think>seen</think><answer>5</answer>"


class Rolled(msgspec.Struct):
    """A rollout, and what its server was asked each time."""

    output: Any
    asked: list[Mapping[str, Any]]


@pytest.fixture
def roll(standing_in: Callable[[str], Any], tiny: Speech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    agent = standing_in("agent")
    monkeypatch.setattr(agent, "tell", lambda: None)
    Image.new("RGB", (280, 196), "white").save(tmp_path / "a.png")

    def rolled(
        replies: Sequence[str], *, room: int = 2000, prompt: int = 4000, name: str = "virc", **given: Any
    ) -> Rolled:
        asked: list[Mapping[str, Any]] = []

        async def generate(**wanted: Any) -> Any:
            asked.append({**wanted, "prompt_ids": list(wanted["prompt_ids"])})
            ids = [*tiny.tokenizer.encode(replies[len(asked) - 1], add_special_tokens=False), tiny.end]
            ids = ids[: wanted["sampling_params"]["max_tokens"]]
            return SimpleNamespace(
                token_ids=ids, log_probs=[-0.5] * len(ids), extra_fields={"min_global_steps": len(asked)}
            )

        config = SimpleNamespace(actor_rollout_ref=SimpleNamespace(model=SimpleNamespace(path=TINY)))
        rollout = SimpleNamespace(prompt_length=prompt, response_length=room, name=name, seed=given.pop("seed", 42))
        row = {
            "data_source": given.pop("data_source", "virc"), "index": given.pop("index", 3),
            "session_id": given.pop("session_id", 0), "global_steps": 1, "reward_model": {"ground_truth": "5"},
            "extra_info": {
                "index": 3, "question": "How long is AB?", "images": [{"image": f"file://{tmp_path / 'a.png'}"}],
                "extra": "{}", "prompt": [{"role": "user", "content": "<image>How long is AB?"}],
            },
        }  # fmt: skip
        settings = {"protocol": str(TINY / FILE_NAME), "folder": str(tmp_path), "max_turns": 4, **given}
        loop = agent.VircLoop(config, rollout, SimpleNamespace(generate=generate), **settings)
        return Rolled(asyncio.run(loop.run({"temperature": 1.0}, **row)), asked)

    return rolled


def learnt(rolled: Rolled, tiny: Speech) -> str:
    """What the rollout learns from."""
    pairs = zip(rolled.output.response_ids, rolled.output.response_mask, strict=True)
    return str(tiny.tokenizer.decode([each for each, mask in pairs if mask], skip_special_tokens=True))


def test_a_rollout_learns_what_was_sampled_alone(roll: Any, tiny: Speech) -> None:
    found = roll([LOOK, RIGHT])
    output = found.output
    assert learnt(found, tiny) == LOOK + RIGHT
    assert 0 in output.response_mask  # what the crop shows
    assert [bool(each) for each in output.response_logprobs] == [bool(each) for each in output.response_mask]
    assert output.prompt_ids == found.asked[0]["prompt_ids"]
    assert [len(each["image_data"]) for each in found.asked] == [1, 2]
    assert [image.size for image in output.multi_modal_data["images"]] == [(280, 196), (56, 56)]
    assert (
        found.asked[1]["prompt_ids"] == output.prompt_ids + output.response_ids[: -output.response_mask[::-1].index(0)]
    )
    extra = output.extra_fields
    assert (extra["ended"], extra["replies"], extra["finish"]) == ("answer", [LOOK, RIGHT], ["stop", "stop"])
    assert extra["min_global_steps"] == 1  # of the first reply, though weights changed


@pytest.mark.parametrize(
    ("replies", "given", "ended", "asked"),
    [
        ([RIGHT], {}, "answer", 1),
        (["no tags"], {}, "format", 1),
        ([LOOK, LOOK, RIGHT], {"max_turns": 2}, "turns", 2),
        ([LOOK, RIGHT], {"room": 60}, "length", 1),
        ([LOOK, RIGHT], {"room": 80}, "length", 1),  # for what the crop shows there is none
        ([LOOK, "no tags", RIGHT], {}, "format", 2),
    ],
)
def test_a_rollout_ends_as_it_should(
    replies: list[str], given: dict[str, Any], ended: str, asked: int, roll: Any
) -> None:
    found = roll(replies, **given)
    assert (found.output.extra_fields["ended"], len(found.asked)) == (ended, asked)
    assert len(found.output.response_ids) <= given.get("room", 2000)


def test_a_rollout_goes_on_past_a_tool_that_fails(
    roll: Any, tiny: Speech, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(crop, "apply", lambda call, source: 1 / 0)
    found = roll([LOOK, RIGHT])
    assert learnt(found, tiny) == LOOK + RIGHT
    assert found.output.extra_fields["ended"] == "answer"
    assert "Error: the tool failed" in tiny.tokenizer.decode(found.output.response_ids)
    assert "virc: the tool crop_image fails" in capsys.readouterr().err


def test_a_reply_is_as_long_as_there_is_room_and_the_loop_says(roll: Any) -> None:
    def most(**given: Any) -> list[int]:
        return [each["sampling_params"]["max_tokens"] for each in roll([LOOK, RIGHT], **given).asked]

    whole = most()
    assert whole[0] == 2000 > whole[1]
    assert most(max_tokens=200) == [200, 200]
    assert most(max_tokens=200, room=190)[0] == 190


def test_a_reply_has_a_seed_of_its_own_that_a_resumed_run_has_again(roll: Any) -> None:
    def seeds(**given: Any) -> list[int]:
        return [each["sampling_params"]["seed"] for each in roll([LOOK, RIGHT], **given).asked]

    first = seeds()
    others = [seeds(session_id=1), seeds(index=4), seeds(seed=43)]
    assert first == seeds()
    assert len({*first, *(seed for each in others for seed in each)}) == 8


def test_vllm_draws_no_ids_of_images(roll: Any, tiny: Speech) -> None:
    (asked,) = roll([RIGHT], name="vllm").asked
    sampling = asked["sampling_params"]
    assert sampling["logit_bias"].keys() == set(tiny.never)
    assert set(sampling["logit_bias"].values()) == {-100.0}
    assert "seed" not in sampling


def test_a_reply_ends_at_the_texts_that_its_grammar_names(roll: Any, tiny: Speech, tmp_path: Path) -> None:
    """What follows such a text is not read; the ids are those that were sampled."""
    own = read_protocol(TINY / FILE_NAME)
    stops = msgspec.structs.replace(own.grammar, stop=("</answer>", "</tool_call>"))
    (tmp_path / "stops.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(own, grammar=stops)))
    found = roll([f"{LOOK} so", f"{RIGHT}! No."], protocol=str(tmp_path / "stops.json"))
    assert [each["sampling_params"]["stop"] for each in found.asked] == [["</answer>", "</tool_call>"]] * 2
    assert found.output.extra_fields["replies"] == [LOOK, RIGHT]
    assert (found.output.extra_fields["ended"], found.output.extra_fields["finish"]) == ("answer", ["stop", "stop"])
    assert learnt(found, tiny) == f"{LOOK} so{RIGHT}! No."
    assert "stop" not in roll([RIGHT]).asked[0]["sampling_params"]


def test_a_unit_of_a_stored_conversation_has_one_reply(roll: Any, tiny: Speech) -> None:
    found = roll([LOOK, RIGHT], rollout="per_cru")
    assert (learnt(found, tiny), found.output.extra_fields["replies"], len(found.asked)) == (LOOK, [LOOK], 1)
    prompt = tiny.tokenizer.decode(found.output.prompt_ids)
    assert "How long is AB?" in prompt
    assert "crop_image" not in prompt  # the words are the row's own
    assert [image.size for image in found.output.multi_modal_data["images"]] == [(280, 196)]


def test_a_prompt_that_is_too_long_is_refused(roll: Any) -> None:
    with pytest.raises(DataError, match=r"the prompt of row 3 has \d+ tokens, over 20"):
        roll([RIGHT], prompt=20)


def test_rows_of_another_system_have_its_words_and_turns(roll: Any, tiny: Speech, tmp_path: Path) -> None:
    other = msgspec.structs.replace(read_protocol(TINY / FILE_NAME), system="Be brief.")
    (tmp_path / "other.json").write_bytes(msgspec.json.encode(other))
    settings = Settings(Reward("outcome"), str(tmp_path), protocol=str(tmp_path / "other.json"), max_turns=1)
    (tmp_path / "reward.json").write_bytes(msgspec.json.encode(settings))
    sources = {"other": str(tmp_path / "reward.json")}
    own, others = (roll([LOOK, RIGHT], data_source=name, sources=sources) for name in ("virc", "other"))
    assert ("Be brief." in tiny.tokenizer.decode(own.output.prompt_ids), len(own.asked)) == (False, 2)
    assert ("Be brief." in tiny.tokenizer.decode(others.output.prompt_ids), len(others.asked)) == (True, 1)


class Scores:
    """Rewards on the last tokens of replies, as verl's queue has them."""

    def __init__(self, scores: Mapping[str, float], lengths: Mapping[str, int]) -> None:
        import torch

        self.rows = {key: torch.zeros(lengths[key]) for key in scores}
        for key, score in scores.items():
            self.rows[key][-1] = score
        self.written: list[str] = []

    def get(self, keys: Sequence[str], partition_id: str, select_fields: Sequence[str]) -> Mapping[str, Any]:
        assert partition_id == "train"
        extra = [{"reward_extra_info": {"score": float(self.rows[key][-1]), "name": key}} for key in keys]
        return {"extra_fields": extra, "rm_scores": SimpleNamespace(unbind=lambda: [self.rows[key] for key in keys])}

    def put(self, keys: Sequence[str], partition_id: str, fields: Any) -> None:
        self.written += keys
        for key, row in zip(keys, fields["rm_scores"].unbind(), strict=True):
            self.rows[key] = row


@pytest.fixture
def trainer(standing_in: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    module = standing_in("trainer")
    monkeypatch.setattr(module, "TensorDict", lambda fields, count: fields)
    monkeypatch.setattr(  # whose first call loads a compiler
        module.torch.nested, "as_nested_tensor", lambda rows, layout: SimpleNamespace(unbind=lambda: rows)
    )
    return module


def regrouped(
    trainer: Any, scores: Scores, rule: Callable[[list[float]], list[float]], monkeypatch: Any
) -> list[list[str]]:
    """The groups that were compared by this rule."""
    groups: list[list[str]] = []

    def compared(settings: str, results: Sequence[Mapping[str, Any]]) -> list[float]:
        assert settings == "reward.json"
        groups.append([each["name"] for each in results])
        return rule([each["score"] for each in results])

    monkeypatch.setattr(trainer, "compared", compared)
    monkeypatch.setattr(trainer, "tq", SimpleNamespace(kv_batch_get=scores.get, kv_batch_put=scores.put))
    trainer.regroup(list(scores.rows), "train", "reward.json")
    return groups


REPLIES = {"p_1_0_0": 1.0, "p_2_0_0": 0.0, "p_1_1_0": 0.0, "p_2_1_0": 3.0}


def test_the_replies_to_one_prompt_are_compared_with_each_other(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = Scores(REPLIES, {"p_1_0_0": 2, "p_2_0_0": 5, "p_1_1_0": 3, "p_2_1_0": 4})
    groups = regrouped(trainer, scores, lambda each: [value - sum(each) / len(each) for value in each], monkeypatch)
    assert groups == [["p_1_0_0", "p_1_1_0"], ["p_2_0_0", "p_2_1_0"]]
    assert {key: [*map(float, row)] for key, row in scores.rows.items()} == {
        "p_1_0_0": [0, 0.5], "p_2_0_0": [0, 0, 0, 0, -1.5], "p_1_1_0": [0, 0, -0.5], "p_2_1_0": [0, 0, 0, 1.5],
    }  # fmt: skip


def test_rewards_that_stay_as_they_are_are_not_written(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = Scores(REPLIES, dict.fromkeys(REPLIES, 3))
    assert len(regrouped(trainer, scores, list, monkeypatch)) == 2
    assert scores.written == []


def test_rows_that_fill_up_a_batch_are_not_compared(trainer: Any) -> None:
    batch = SimpleNamespace(keys=["a_0_0", "a_1_0", "a_0_0"], tags=[{}, {"is_padding": False}, {"is_padding": True}])
    assert trainer._there(batch) == ["a_0_0", "a_1_0"]


@pytest.fixture
def ray_arguments(standing_in: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Any]]:
    start = standing_in("start")
    container = {
        "num_cpus": 16,
        "address": None,
        "_temp_dir": "x",
        "runtime_env": {"env_vars": {"OMP_NUM_THREADS": "2"}},
    }
    monkeypatch.setattr(
        sys.modules["omegaconf"], "OmegaConf", SimpleNamespace(to_container=lambda *_, **__: dict(container))
    )
    environment = {"env_vars": {"OMP_NUM_THREADS": "1", "NCCL_DEBUG": "WARN"}}
    monkeypatch.setattr(sys.modules["verl.trainer.constants_ppo"], "get_ppo_ray_runtime_env", lambda _: environment)
    config = SimpleNamespace(ray_kwargs=SimpleNamespace(ray_init=None))
    for name in ("RAY_AUTH_TOKEN", "TQ_NUM_THREADS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return lambda: dict(start.ray_arguments(config, "/tmp/ray"))


def test_ray_is_started_in_a_folder_of_the_run_and_opens_no_page(ray_arguments: Callable[[], dict[str, Any]]) -> None:
    found = ray_arguments()
    assert (found["_temp_dir"], found["include_dashboard"], found["num_cpus"]) == ("/tmp/ray", False, 16)
    assert found["runtime_env"]["env_vars"] == {"OMP_NUM_THREADS": "2", "NCCL_DEBUG": "WARN"}  # a user's win


def test_a_cluster_is_told_of_no_key(
    ray_arguments: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("RAY_ADDRESS", "head:1"), ("VIRC_PATH", "/code"), ("VIRC_JUDGE_KEY", "sk-1"), ("WANDB_API_KEY", "sk-2"),
        ("WANDB_MODE", "online"), ("HOME", "/home/a"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    found = ray_arguments()
    variables = found["runtime_env"]["env_vars"]
    assert (variables["VIRC_PATH"], variables["WANDB_MODE"]) == ("/code", "online")
    assert not {"VIRC_JUDGE_KEY", "WANDB_API_KEY", "HOME"} & variables.keys()
    assert not {"num_cpus", "_temp_dir", "include_dashboard"} & found.keys()


class Buffer:
    """What verl's replay buffer does: it knows what failed, and hands on what it is given."""

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.failure_keys: dict[str, list[str]] = {"train": [], "val": []}
        self.train_batch_size, self.equal = 4, 0
        self.prompt_global_steps = {"train": {"c": 1, "a_b": 1, "b": 2}}
        self.partitions: dict[str, Any] = {}
        self.finished_keys: dict[str, set[str]] = {"train": set(), "val": set()}
        self.filter_groups_metric: str | None = None

    def _terminal_eviction_reasons(self, step: int, partition: str) -> tuple[set[str], range, set[str], dict[str, int]]:
        return set(), range(self.equal), set(), {}

    def sample(self, step: int, partition: str, size: int) -> tuple[Any, dict[str, int]]:
        batch = SimpleNamespace(keys=[*self.partitions[partition]])
        batch.select_keys = lambda keys: SimpleNamespace(keys=keys)
        return batch, {"size": size}


@pytest.fixture
def strict(standing_in: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """verl's buffer as a run has it, and what is noted of failures."""
    standing_in("agent_failures")
    monkeypatch.setattr(sys.modules["verl.trainer.ppo.v1.replay_buffer"], "ReplayBuffer", Buffer)
    monkeypatch.setattr(sys.modules["omegaconf"], "OmegaConf", SimpleNamespace(to_container=dict))
    sys.modules.pop("virc.engines.verl.agent_failures", None)
    module = import_module("virc.engines.verl.agent_failures")
    buffer = module.Strict(sampler_kwargs={"poll_interval": 3}, other=1)

    def kv_put(key: str, partition_id: str, tag: dict[str, str]) -> None:
        buffer.partitions.setdefault(partition_id, {})[key] = tag

    monkeypatch.setattr(module.tq, "kv_put", kv_put)
    return SimpleNamespace(module=module, buffer=buffer)


def test_a_failed_rollout_ends_the_run_with_its_first_reason(strict: Any) -> None:
    assert strict.buffer.given == {"sampler_kwargs": {"poll_interval": 3}, "other": 1, "poll_interval": 3}
    strict.buffer._terminal_eviction_reasons(1, "train")
    tells = strict.module._Tells()
    for reason in ("the judge is down", "another"):
        try:
            raise ValueError(reason)
        except ValueError:
            record = logging.LogRecord("verl", logging.ERROR, "", 1, "failed", None, sys.exc_info())
        tells.emit(record)
    tells.emit(logging.LogRecord("verl", logging.ERROR, "", 1, "said", None, None))
    strict.buffer._terminal_eviction_reasons(1, "train")  # what is noted ends nothing
    strict.buffer.failure_keys["val"].append("a_0_0")
    with pytest.raises(RuntimeError, match="a rollout or its reward failed: ValueError: the judge is down"):
        strict.buffer._terminal_eviction_reasons(1, "train")


def test_a_failure_that_nobody_noted_ends_the_run_too(strict: Any) -> None:
    strict.buffer.failure_keys["train"].append("a_0_0")
    with pytest.raises(RuntimeError, match="failed: see its log above"):
        strict.buffer._terminal_eviction_reasons(1, "train")


def test_groups_that_never_differ_end_the_run_of_their_step(strict: Any) -> None:
    buffer, most = strict.buffer, 4 * strict.module.FRUITLESS
    buffer.equal = most // 2
    for step in (1, 2):
        for _ in range(2):
            assert len(buffer._terminal_eviction_reasons(step, "train")[1]) == most // 2
    buffer.equal = 1
    with pytest.raises(EngineError, match=f"too few groups for step 2: in each of {most + 1} others"):
        buffer._terminal_eviction_reasons(2, "train")


def test_rollouts_are_learnt_from_in_the_order_of_their_prompts(strict: Any) -> None:
    done = ["b_0_0", "a_b_10_0", "a_b_2_1", "c_1_0", "a_b_2_0", "c_0_0"]
    strict.buffer.partitions["train"] = {key: {} for key in done}
    found, metrics = strict.buffer.sample(1, "train", 3)
    assert found.keys == ["c_0_0", "c_1_0", "a_b_2_0", "a_b_2_1", "a_b_10_0", "b_0_0"]
    assert metrics == {"size": 3}


@pytest.mark.parametrize(
    ("partition", "metric", "seen"),
    [("train", "score", [["a_0_0", "a_1_0"], ["c_0_0"]]), ("val", "score", []), ("train", None, [])],
)
def test_groups_are_left_out_by_rewards_that_are_compared(
    partition: str, metric: str | None, seen: list[list[str]], strict: Any
) -> None:
    """Of those that are new: a second comparison would be of what the first one wrote."""
    compared: list[list[str]] = []
    buffer = strict.buffer
    buffer.compare, buffer.filter_groups_metric = lambda keys, _: compared.append(keys), metric
    buffer.partitions[partition] = {key: {} for key in ("a_0_0", "a_1_0", "b_0_0", "c_0_0")}
    for done in ({"a"}, {"a", "c"}):
        buffer.finished_keys[partition] = done
        buffer._terminal_eviction_reasons(1, partition)
    assert compared == seen


def dead(kind: str, end: int, reason: str = "WORKER_DIED", job: str = "1", oom: bool = False) -> dict[str, Any]:
    """An actor of Ray's that died."""
    context = SimpleNamespace(WORKER_DIED=1, NODE_DIED=2, OUT_OF_SCOPE=3)
    context.reason = getattr(context, reason)
    cause = SimpleNamespace(HasField=lambda field: oom and field == "oom_context", actor_died_error_context=context)
    address = {"IPAddress": "10.0.0.1"}
    return {"JobID": job, "ActorClassName": kind, "EndTime": end, "Pid": end, "Address": address, "DeathCause": cause}


@pytest.mark.parametrize(
    ("actors", "said"),
    [
        ([], None),
        ([dead("x.WorkerDict", 3)], "its actor died (process 3 on 10.0.0.1)"),
        ([dead("Server", 9), dead("make.<locals>.AgentLoopWorkerTQ", 4)], "its agent loop worker died (process 4"),
        ([dead("Server", 2, "OUT_OF_SCOPE"), dead("Own", 7, "NODE_DIED")], "its Own died (process 7 on 10.0.0.1)"),
        ([dead("Runner", 1, job="2")], None),
        ([dead("Runner", 1, "OUT_OF_SCOPE", oom=True)], "Ray ended its trainer (process 1 on 10.0.0.1) since the main"),
    ],
)
def test_the_process_that_died_first_is_named(
    actors: list[dict[str, Any]], said: str | None, standing_in: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cause = standing_in("cause")
    table = dict(enumerate(actors))
    state = SimpleNamespace(actor_table=lambda *_: table)
    ray = {
        "is_initialized": lambda: True, "get_runtime_context": lambda: SimpleNamespace(get_job_id=lambda: "1"),
        "_private": SimpleNamespace(state=SimpleNamespace(state=state)),
    }  # fmt: skip
    sys.modules["ray"].__dict__.update(ray)
    found = cause.first_death()
    assert found == said or (found and said and found.startswith(said))
    monkeypatch.setattr(cause, "_PATIENCE", 0)
    for raised, own in ((ValueError("bad  row\n1"), "ValueError: bad row 1"), (RuntimeError("Actor died"), None)):
        last = cause.last_cause(raised)
        assert last == (f"EngineError: {found}" if found else own or "RuntimeError: Actor died")
    sys.modules["ray"].__dict__["is_initialized"] = lambda: False
    assert cause.first_death() is None


def test_the_error_that_others_were_raised_for_is_the_cause(standing_in: Callable[[str], Any]) -> None:
    cause = standing_in("cause")
    first = KeyError("answer")
    of_ray = RuntimeError("task failed")
    of_ray.cause = first  # type: ignore[attr-defined]
    last = OSError("lost")
    last.__cause__ = of_ray
    assert cause.cause(last) == "KeyError: 'answer'"


@pytest.mark.parametrize(("frozen", "counts"), [("", (6, 12)), ("vision", (0, 12))])
def test_an_engine_that_learns_says_how_many_parameters_do(
    frozen: str,
    counts: tuple[int, int],
    standing_in: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VIRC_FROZEN", frozen)
    standing_in("external")
    made = sys.modules["verl.workers.engine.fsdp.transformer_impl"].FSDPEngine
    for learns in (False, True):
        made(learns).initialize()
        assert (f"virc: {sum(counts)} parameters are trained\n" in capsys.readouterr().out) == learns


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_verl_gets_a_mean_of_the_features_of_a_black_picture(
    family: str, standing_in: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes that of rows without pictures, so that all devices do the same work."""
    import torch

    monkeypatch.delenv("VIRC_FROZEN", raising=False)
    standing_in("external")
    engine = sys.modules["verl.workers.engine.fsdp.transformer_impl"].FSDPEngine(learns=True)
    engine.family = family
    engine.initialize()
    visual, features = engine.module["visual"], torch.ones(3, 2)
    visual.forward = lambda patches: SimpleNamespace(pooler_output=features)
    seen = visual(torch.zeros(3, 2))
    assert (seen is features) == (family != "qwen3_vl")  # of which verl reads the object itself


@pytest.mark.parametrize(
    ("top_p", "top_k", "kept", "reference"),
    [(1, -1, True, [-1.0, -3.0]), (1, 0, True, [-1.0, -3.0]), (0.9, -1, True, None), (1, 5, True, None),
     (1, -1, False, None)],
)  # fmt: skip
def test_an_actor_is_compared_with_a_sampler_that_drew_from_all_ids(
    top_p: float, top_k: int, kept: bool, reference: list[float] | None, standing_in: Callable[[str], Any]
) -> None:
    sight = standing_in("sight")
    rollout = SimpleNamespace(top_p=top_p, top_k=top_k)
    config = SimpleNamespace(actor_rollout_ref=SimpleNamespace(rollout=rollout))
    chances = sight.torch.tensor([[-1.0, -2.0, -3.0]])
    found = {"rollout_log_probs": chances} if kept else {}
    assert sight._reference(found, sight.torch.tensor([True, False, True]), config) == reference


def test_pictures_behind_the_last_reply_are_not_looked_for(standing_in: Callable[[str], Any]) -> None:
    shown = standing_in("sight")._shown
    roles = [("user", (0, 1)), ("assistant", ()), ("tool", (2,)), ("assistant", ()), ("tool", (3,))]
    messages = [SimpleNamespace(role=role, images=images) for role, images in roles]
    assert [shown(SimpleNamespace(messages=messages[:end])) for end in (5, 4, 2, 1)] == [3, 3, 2, 0]


@pytest.mark.parametrize(("processes", "micro", "keys"), [(1, 1, 1), (2, 1, 2), (2, 2, 4), (8, None, 5)])
def test_an_actor_is_checked_by_a_batch_that_all_its_processes_can_share(
    processes: int, micro: int | None, keys: int, standing_in: Callable[[str], Any]
) -> None:
    chosen: list[list[str]] = []

    def select_keys(keys: list[str]) -> Any:
        chosen.append(keys)
        return SimpleNamespace(extra_info={"kept": 1})

    batch = SimpleNamespace(keys=["a", "b", "c", "d", "e"], select_keys=select_keys)
    settings = SimpleNamespace(log_prob_micro_batch_size_per_gpu=micro, temperature=0.5)
    config = SimpleNamespace(actor_rollout_ref=SimpleNamespace(rollout=settings))
    actor = SimpleNamespace(world_size=processes)
    part = standing_in("sight")._part(actor, batch, "c", config)
    assert len(chosen[0]) == keys == len(set(chosen[0]))
    assert chosen[0][0] == "c"
    assert part.extra_info == {"kept": 1, "calculate_entropy": False, "compute_loss": False, "temperature": 0.5}


@pytest.mark.parametrize(
    ("leaves", "step", "left"),
    [("4:ROLLOUTS", 1, True), ("4:ROLLOUTS", 3, False), ("4:ROLLOUTS", 8, True), ("", 8, False)],
)
def test_some_rollouts_of_some_steps_are_left_to_look_at(
    leaves: str, step: int, left: bool, trainer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if leaves:
        monkeypatch.setenv("VIRC_ROLLOUTS", leaves.replace("ROLLOUTS", str(tmp_path)))
    else:
        monkeypatch.delenv("VIRC_ROLLOUTS", raising=False)
    written: list[tuple[Path, int, Any]] = []
    monkeypatch.setattr(trainer.rollouts, "leave", lambda *given: written.append(given))
    monkeypatch.setattr(trainer.rollouts, "measures", lambda found, most: {"virc/cut": most, "virc/of": len(found)})
    base = trainer.Trainer.__mro__[1]
    trace = Trace(protocol=read_protocol(TINY / FILE_NAME), question="q", messages=[], images=[], units=[])
    torch = trainer.torch
    extra = {"rollout": msgspec.json.encode(trace), "reward_extra_info": {"score": 1, "why": "x", "right": True}}
    row = {
        "extra_fields": [extra, {}], "extra_info": [{"images": [{"image": "a.png"}, {}]}, {}],
        "responses": [[1, 2, 3], [1]], "rm_scores": [torch.tensor([0.0, 0.25, 0.5]), torch.zeros(1)],
    }  # fmt: skip
    monkeypatch.setattr(trainer, "tq", SimpleNamespace(kv_batch_get=lambda **_: row))
    batch = SimpleNamespace(keys=["p_1_0", "p_2_0", "p_1_0"], tags=[{}, {}, {"is_padding": True}], partition_id="t")
    mine = object.__new__(trainer.Trainer)
    mine.config = SimpleNamespace(data=SimpleNamespace(max_response_length=9))
    metrics: dict[str, Any] = {"verl/own": 1}
    monkeypatch.setattr(base, "step", lambda self, metrics, timing_raw: batch, raising=False)
    mine.global_steps = step
    assert mine.step(metrics, {}) is batch
    assert metrics == {"verl/own": 1, "virc/cut": 9, "virc/of": 1}
    assert [(folder, at) for folder, at, _ in written] == ([(tmp_path, step)] if left else [])
    for _, _, (found,) in written:
        assert (found.group, found.reward, found.tokens, found.images) == ("p", 0.75, 3, ["a.png"])
        assert found.values == {"score": 1.0, "right": 1.0}


def test_a_run_is_checked_once_to_see_its_pictures(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, asked = iter([False, True]), list[list[str]]()

    def check_actor(actor: str, batch: Any, keys: list[str], config: str) -> bool:
        asked.append(keys)
        return next(answers)

    base = trainer.Trainer.__mro__[1]
    monkeypatch.setattr(base, "on_sample_end", lambda self: None, raising=False)
    monkeypatch.setattr(trainer, "check_actor", check_actor)
    mine = object.__new__(trainer.Trainer)
    mine.actor_rollout_wg, mine.config = "actor", "config"
    monkeypatch.setattr(trainer.Trainer, "_compare", lambda self, keys, partition: None)
    mine.replay_buffer = SimpleNamespace(batch=SimpleNamespace(keys=["a"], partition_id="train"))
    for _ in range(3):
        mine.on_sample_end()
    assert asked == [["a"], ["a"]]  # until there was a rollout with pictures


@pytest.mark.parametrize(("given", "compares"), [({"settings": "reward.json"}, True), ({}, False), (None, False)])
def test_rewards_of_another_function_stay_as_they_are(
    given: Any, compares: bool, trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[Any] = []
    monkeypatch.setattr(trainer, "regroup", lambda *given: compared.append(given))
    base = trainer.Trainer.__mro__[1]
    monkeypatch.setattr(base, "on_sample_end", lambda self: None, raising=False)
    mine = object.__new__(trainer.Trainer)
    function = {"reward_kwargs": given} if given is not None else {}
    mine.config = SimpleNamespace(reward=SimpleNamespace(custom_reward_function=function))
    mine.replay_buffer = SimpleNamespace(batch=SimpleNamespace(keys=["a"], partition_id="train"))
    mine._sees = True
    mine.on_sample_end()
    assert compared == ([(["a"], "train", "reward.json")] if compares else [])


def test_the_buffer_of_a_trainer_compares_as_it_does(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    base = trainer.Trainer.__mro__[1]
    buffer = SimpleNamespace()
    monkeypatch.setattr(base, "__init__", lambda self, config: setattr(self, "replay_buffer", buffer))
    mine = trainer.Trainer("config")
    assert buffer.compare == mine._compare


def test_the_task_runner_of_verl_trains_with_our_trainer(trainer: Any, standing_in: Callable[[str], Any]) -> None:
    registry: dict[str, Any] = {"sync": "verl's own"}
    ran: list[tuple[Any, str]] = []

    class TaskRunner:
        def run(self, config: Any) -> None:
            ran.append((registry["sync"], config))

    actor = SimpleNamespace(__ray_metadata__=SimpleNamespace(modified_class=TaskRunner))
    sys.modules["verl.trainer.main_ppo"].__dict__["TaskRunnerV1"] = actor
    trainer.trainer_base.TRAINER_REGISTRY = registry
    standing_in("runner").Runner().run("config")
    ((kind, config),) = ran
    assert (kind.__name__, config) == ("Trainer", "config")
    assert issubclass(kind, sys.modules["verl.trainer.ppo.v1.trainer_sync"].PPOTrainerSync)


def test_a_batch_without_rollouts_is_compared_and_measured_as_none(
    trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "tq", None)  # nobody asks the queue
    trainer.regroup([], "train", "reward.json")
    assert trainer._rollouts(SimpleNamespace(keys=["p_1_0"], tags=[{"is_padding": True}])) == []


def test_failed_rollouts_are_told_once(strict: Any) -> None:
    logger = logging.getLogger("verl.trainer.ppo.v1.agent_loop_tq")
    before = list(logger.handlers)
    try:
        for _ in range(2):
            strict.module.tell()
        (told,) = (each for each in logger.handlers if each not in before)
        assert type(told).__name__ == "_Tells"
        told.emit(logging.LogRecord("", logging.ERROR, "", 1, "no error is at hand", (), (None, None, None)))
    finally:
        logger.handlers[:] = before
