"""The agent loop, the trainer and the start of a run of verl, on stand-ins for verl's and Ray's own classes."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pytest
from PIL import Image

import virc
from virc.core.errors import DataError
from virc.engines.verl.agent_ids import Speech, speech
from virc.models.chat_protocol import read_protocol
from virc.reasoning.protocol import FILE_NAME
from virc.rewards.verl import Settings
from virc.systems.registry import Reward
from virc.tools import crop

TINY = Path(virc.__file__).parent / "models" / "tiny"
STAND_INS: Mapping[str, Sequence[str]] = {
    "ray": (),
    "transfer_queue": ("kv_batch_get", "kv_batch_put"),
    "tensordict": ("NonTensorStack", "TensorDict"),
    "verl.experimental.agent_loop.agent_loop": ("AgentLoopBase", "AgentLoopMetrics", "AgentLoopOutput"),
    "verl.trainer.ppo.v1": ("trainer_base",),
    "verl.trainer.ppo.v1.trainer_base": (),
    "verl.trainer.ppo.v1.trainer_sync": ("PPOTrainerSync",),
    "verl.trainer.ppo.v1.replay_buffer": ("ReplayBuffer",),
    "verl.workers.utils.padding": ("response_from_nested",),
    "verl.trainer.constants_ppo": ("get_ppo_ray_runtime_env",),
    "ray.experimental": ("internal_kv",),
    "omegaconf": ("OmegaConf",),
}


class Base:
    """What verl gives an agent loop."""

    def __init__(self, config: Any, rollout_config: Any, server_manager: Any) -> None:
        self.config, self.rollout_config, self.server_manager = config, rollout_config, server_manager


class Kept(SimpleNamespace):
    """Anything with the fields that it is made of."""


@pytest.fixture
def standing_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Imports a module of `virc.engines.verl` where verl is not installed."""
    for name, fields in STAND_INS.items():
        for at in range(name.count(".") + 1):
            part = ".".join(name.split(".")[: at + 1])
            if not isinstance(sys.modules.get(part), ModuleType) or part == name:
                monkeypatch.setitem(sys.modules, part, ModuleType(part))
        for field in fields:
            setattr(sys.modules[name], field, type(field, (), {}))
    sys.modules["verl.experimental.agent_loop.agent_loop"].__dict__.update(
        AgentLoopBase=Base,
        AgentLoopOutput=Kept,
        AgentLoopMetrics=lambda: SimpleNamespace(generate_sequences=0.0, tool_calls=0.0),
    )
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
