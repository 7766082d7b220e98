"""What the process of supervised fine-tuning mends in LLaMA-Factory, on stand-ins for its classes."""

import signal
import sys
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from support.loopback import free_port
from support.stand_ins import bare, stand_in


@pytest.fixture(scope="module")
def start() -> Any:
    from virc.engines.llamafactory import start

    return start


def control() -> Any:
    return SimpleNamespace(should_save=False, should_training_stop=False)


@pytest.mark.parametrize("asked", [False, True])
def test_a_run_that_is_asked_to_stop_saves_at_the_end_of_its_step(start: Any, asked: bool) -> None:
    before = signal.getsignal(signal.SIGTERM)
    saves, arguments = start.SavesOnSignal(), SimpleNamespace(device="cpu")
    try:
        saves.on_train_begin(arguments, None, control())
        told: Any = signal.getsignal(signal.SIGTERM)
        if asked:
            told(signal.SIGTERM, None)
        step, epoch = control(), SimpleNamespace(should_save=True)
        saves.on_step_end(arguments, None, step)
        saves.on_epoch_end(arguments, None, epoch)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (step.should_save, step.should_training_stop) == (asked, asked)
    assert epoch.should_save is not asked  # the same step is not saved twice


def test_one_process_that_is_asked_stops_all(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reduced: list[tuple[int, object]] = []

    def all_reduce(stopping: Any, how: object) -> None:
        reduced.append((int(stopping), how))
        stopping.fill_(1)  # another one was asked

    monkeypatch.setattr(start.torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(start.torch.distributed, "all_reduce", all_reduce)
    step = control()
    start.SavesOnSignal().on_step_end(SimpleNamespace(device="cpu"), None, step)
    assert reduced == [(0, start.torch.distributed.ReduceOp.MAX)]
    assert (step.should_save, step.should_training_stop) == (True, True)


@pytest.mark.parametrize(
    ("logs", "says"),
    [
        ({"loss": 0.7, "grad_norm": 3.0}, None),
        ({"eval_loss": 0.7}, None),
        ({"loss": float("nan"), "grad_norm": 1.0}, "the loss of step 4 is nan"),
        ({"loss": 0.7, "grad_norm": float("inf")}, "the grad_norm of step 4 is inf"),
    ],
)
def test_what_is_logged_and_is_not_finite_ends_the_run(start: Any, logs: dict[str, float], says: str | None) -> None:
    with pytest.raises(FloatingPointError, match=says) if says else nullcontext():
        start.EndsWhereDiverged().on_log(None, SimpleNamespace(global_step=4), control(), logs=logs)


@pytest.mark.parametrize(
    ("value", "trained", "ends"),
    [(1e15, True, False), (1e30, True, True), (float("inf"), True, True), (float("nan"), False, False)],
)
def test_trained_weights_that_are_not_finite_are_not_saved(start: Any, value: float, trained: bool, ends: bool) -> None:
    model = start.torch.nn.Linear(2, 2)
    with start.torch.no_grad():
        model.weight[1, 0] = value
    model.weight.requires_grad_(trained)
    callback, state = start.EndsWhereDiverged(), SimpleNamespace(global_step=4)
    callback.on_step_end(None, state, control(), model=model)  # nothing is saved
    saving = SimpleNamespace(should_save=True)
    for at_a_save in (
        partial(callback.on_step_end, None, state, saving),
        partial(callback.on_train_end, None, state, saving),
    ):
        with (
            pytest.raises(FloatingPointError, match="the weight weight is not finite after step 4")
            if ends
            else nullcontext()
        ):
            at_a_save(model=model)


def test_lines_of_metrics_get_what_was_logged_at_their_own_step(start: Any) -> None:
    lines: list[dict[str, Any]] = []

    class Log:
        """Writes its lines later, as a thread of LLaMA-Factory's does."""

        def __init__(self) -> None:
            self.waiting: list[dict[str, Any]] = []

        def on_log(self, args: Any, state: Any, control: Any) -> None:
            self.waiting.append({"current_steps": state.global_step, "loss": 0.5})

        def _write_log(self, folder: str, line: dict[str, Any]) -> None:
            lines.append(line)

    start.write_more(Log)
    log = Log()
    for step, margin in ((1, 0.0), (2, 0.25)):
        found = {
            "loss": 0.5,
            "grad_norm": step,
            "rewards/margins": margin,
            "rewards/chosen": margin,
            "rewards/rejected": 0.0,
        }
        log.on_log(None, SimpleNamespace(global_step=step, log_history=[{"grad_norm": 99.0}, found]), None)
    log.on_log(None, SimpleNamespace(global_step=3, log_history=[{"loss": 0.5}]), None)  # the summary has no rewards
    for line in log.waiting:
        log._write_log("folder", line)
    assert [line.get("margin") for line in lines] == [0.0, 0.25, None]
    sides = {"margin": 0.25, "chosen": 0.25, "rejected": 0.0}
    assert lines[1] == {"current_steps": 2, "loss": 0.5, "grad_norm": 2, **sides}


def test_no_token_of_an_image_is_learnt(start: Any) -> None:
    class Processor:
        template = SimpleNamespace(mm_plugin=SimpleNamespace(vision_bos_token="<b>", image_token="<i>"))
        tokenizer = SimpleNamespace(convert_tokens_to_ids=lambda marks: [{"<b>": 8, "<i>": 7}[mark] for mark in marks])

        def preprocess_dataset(self, examples: str) -> dict[str, Any]:
            return {"input_ids": [[1, 8, 7, 3], [3]], "labels": [[-100, 8, 7, 3], [3]], "images": [examples, None]}

    start.leave_images_out(Processor, -100)
    found = Processor().preprocess_dataset("asked")
    assert found.pop("labels") == [[-100, -100, -100, 3], [3]]
    assert found == {"input_ids": [[1, 8, 7, 3], [3]], "images": ["asked", None]}


@pytest.mark.parametrize(
    ("trained", "is_frozen"),
    [((), True), (("block.weight",), False), (("patch_embed.weight",), False), (("block.weight", "block.bias"), False)],
)
def test_a_frozen_tower_keeps_no_activations(start: Any, trained: tuple[str, ...], is_frozen: bool) -> None:
    """One of which any part is trained, adapters say, needs them."""
    nn = start.torch.nn
    tower = nn.Module()
    tower.patch_embed, tower.block = nn.Linear(2, 2), nn.Linear(2, 2)
    model = nn.Module()
    model.visual, model.language = tower, nn.Linear(2, 2)
    for name, weight in tower.named_parameters():
        weight.requires_grad_(name in trained)

    tower.patch_embed.register_forward_hook(lambda module, given, output: output.requires_grad_(True))  # as peft asks
    arguments = SimpleNamespace(device=SimpleNamespace(type="cuda"), bf16=True, deepspeed=None)
    start.Prepares().on_train_begin(arguments, None, None, model=model)
    assert tower.patch_embed(start.torch.ones(1, 2)).requires_grad != is_frozen


@pytest.mark.parametrize(
    ("device", "bf16", "deepspeed", "dtype"),
    [("cpu", False, None, "float32"), ("cpu", True, None, "bfloat16"), ("cpu", False, "z.json", "bfloat16"),
     ("cuda", False, None, "bfloat16")],
)  # fmt: skip
def test_a_cpu_computes_in_float32_what_is_not_to_be_bfloat16(
    start: Any, device: str, bf16: bool, deepspeed: str | None, dtype: str
) -> None:
    model = start.torch.nn.Linear(2, 2).bfloat16()
    arguments = SimpleNamespace(device=SimpleNamespace(type=device), bf16=bf16, deepspeed=deepspeed)
    start.Prepares().on_train_begin(arguments, None, None, model=model)
    assert str(model.weight.dtype) == f"torch.{dtype}"


@pytest.mark.parametrize(
    ("come", "is_alive", "waits_for"),
    [
        ("12", True, None),
        ("2", True, "process 1 of 3"),
        ("", True, "process 1, 2 of 3"),
        ("12", False, "the first node"),
    ],
)
def test_a_start_waits_for_its_peers_for_a_stated_time(
    start: Any, come: str, is_alive: bool, waits_for: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch.distributed

    c10d: Any = torch.distributed
    agent = c10d.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    port = str(agent.port if is_alive else free_port())
    given = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "3", "RANK": "0"}
    for name, value in {**given, "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}.items():
        monkeypatch.setenv(name, value)
    for rank in come:
        agent.set(f"virc/0/{rank}", "")
    expected = rf"waited 0.3 s at 127.0.0.1:{port} for {waits_for}$"
    with pytest.raises(TimeoutError, match=expected) if waits_for else nullcontext():
        start.meet(0.3)


@pytest.mark.parametrize("accelerator", [None, "cpu"])
def test_a_process_ends_with_its_launcher_and_meets_the_others_first(
    accelerator: str | None, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Any] = []
    ops = SimpleNamespace(__compatible_ops__={"deepspeed_shm_comm": True})
    run_exp = lambda callbacks: done.append([type(each).__name__ for each in callbacks])  # noqa: E731
    stand_in(monkeypatch, {
        "llamafactory.train.callbacks": {"LogCallback": "log"}, "deepspeed": {"ops": ops},
        "llamafactory.train.tuner": {"run_exp": run_exp},
    })  # fmt: skip
    vars(sys.modules["llamafactory.train"])["callbacks"] = sys.modules["llamafactory.train.callbacks"]
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    if accelerator:
        monkeypatch.setenv("DS_ACCELERATOR", accelerator)
    for name in ("end_with_parent", "meet"):
        monkeypatch.setattr(start, name, lambda name=name: done.append(name))
    monkeypatch.setattr(start, "write_more", done.append)
    before = signal.getsignal(signal.SIGTERM)
    try:
        start.run(lambda: [SimpleNamespace()])
        ends: Any = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as ended:
            ends(signal.SIGTERM, None)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143
    callbacks = ["SavesOnSignal", "EndsWhereDiverged", "Prepares", "SimpleNamespace"]
    assert done == ["end_with_parent", "meet", "log", callbacks]
    assert ops.__compatible_ops__["deepspeed_shm_comm"] is (accelerator is None)


def test_images_are_left_out_of_packed_rows_too(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    processors = bare("SupervisedDatasetProcessor", "PackedSupervisedDatasetProcessor")
    stand_in(monkeypatch, {"llamafactory.data.processor.supervised": {**processors, "IGNORE_INDEX": -1}})
    module = sys.modules["llamafactory.data.processor.supervised"]
    vars(sys.modules["llamafactory.data.processor"])["supervised"] = module
    left: list[tuple[str, int]] = []
    monkeypatch.setattr(start, "leave_images_out", lambda each, ignored: left.append((each.__name__, ignored)))
    assert start._prepare() == []
    assert left == [(name, -1) for name in processors]


def test_an_engine_that_torchrun_did_not_start_waits_for_nobody(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_USE_AGENT_STORE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    start.meet()
