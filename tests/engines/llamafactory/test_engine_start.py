"""What the process of supervised fine-tuning mends in LLaMA-Factory, on stand-ins for its classes."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from backends import tiny_factory
from support.loopback import free_port

from virc.engines import environment

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def start() -> Any:
    from virc.engines.llamafactory import start

    return start


def control() -> Any:
    return SimpleNamespace(should_save=False, should_training_stop=False)


@pytest.mark.parametrize(
    ("value", "trained", "ends"), [(1e15, True, False), (1e30, True, True), (float("nan"), False, False)]
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


@pytest.mark.parametrize(("come", "is_alive", "waits_for"), [("12", True, None), ("", True, "process 1, 2 of 3")])
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


@pytest.mark.parametrize("kind", ["gemma3", "internvl", "lfm2_vl"])
def test_a_frozen_tower_keeps_nothing_for_the_backward_pass(start: Any, kind: str, tmp_path: Path) -> None:
    load: Any = start.transformers.AutoModelForImageTextToText.from_pretrained
    model = load(tiny_factory.build(tmp_path / kind, kind)).requires_grad_(False)
    model.model.language_model.layers.requires_grad_(True)
    model.enable_input_require_grads()
    start.keep_gradients_out(model)
    patches = start.torch.ones((1, 768) if kind == "lfm2_vl" else (1, 3, 56, 56))
    assert not model.model.vision_tower.get_input_embeddings()(patches).requires_grad
    assert model.get_input_embeddings()(start.torch.tensor([1])).requires_grad


def test_a_base_without_some_of_its_weights_is_not_trained(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file, save_file

    models: Any = start.PreTrainedModel
    monkeypatch.setattr(models, "from_pretrained", vars(models)["from_pretrained"])
    environment.refuse_missing_weights(models)
    load: Any = start.transformers.AutoModelForImageTextToText.from_pretrained
    file = tiny_factory.build(tmp_path / "base", "qwen2_5_vl") / "model.safetensors"
    assert load(file.parent).config.model_type == "qwen2_5_vl"
    save_file({name: each for name, each in load_file(file).items() if "blocks.1" not in name}, file, {"format": "pt"})
    with pytest.raises(ValueError, match="weights of the base are missing"):
        load(file.parent)


def test_tokens_of_packed_rows_are_counted_without_their_mask(start: Any) -> None:
    trainer, ones = SimpleNamespace(_track_num_input_tokens=lambda _, inputs: inputs), start.torch.ones(1, 3)
    start.count_packed(trainer)
    for mask, is_kept in ((ones, True), (start.torch.tensor([[1, 1, 2]]), False), (ones[None, None], False)):
        assert ("attention_mask" in trainer._track_num_input_tokens(None, {"attention_mask": mask})) == is_kept


def test_linear_layers_alone_get_adapters(start: Any) -> None:
    adapter = SimpleNamespace(patch_target_modules=lambda *_: ["0", "1", "1.0", "2"])
    start.adapt_layers_alone(adapter)
    linear, sequence = start.torch.nn.Linear(2, 2), start.torch.nn.Sequential
    model = sequence(linear, sequence(linear), start.torch.nn.LayerNorm(2))
    assert adapter.patch_target_modules(model, None) == ["0", "1.0"]


@pytest.mark.parametrize("sides", [("",), ("chosen_", "rejected_"), ("", "kl_")])
def test_no_token_of_an_image_is_learnt_on_any_side(start: Any, sides: tuple[str, ...]) -> None:
    class Processor:
        tokenizer = SimpleNamespace(get_vocab=lambda: {"<img>": 8, "<IMG_CONTEXT>": 7, "x": 3})

        def preprocess_dataset(self, examples: str) -> dict[str, Any]:
            inputs = {f"{side}input_ids": [[1, 8, 7, 3], [3]] for side in sides}
            return {**inputs, **{f"{side}labels": [[-100, 8, 7, 3], [3]] for side in sides}, "images": [examples]}

    start.leave_images_out(Processor, -100)
    found = Processor().preprocess_dataset("asked")
    assert [found.pop(f"{side}labels") for side in sides] == [[[-100, -100, -100, 3], [3]]] * len(sides)
    assert found == {**{f"{side}input_ids": [[1, 8, 7, 3], [3]] for side in sides}, "images": ["asked"]}


def test_swanlab_without_a_run_is_as_transformers_expects(start: Any) -> None:
    def get_run() -> str:
        if not runs:
            raise RuntimeError("No active Run. Call swanlab.init() first.")
        return runs[0]

    class Callback:
        def __init__(self) -> None:
            self._swanlab = swanlab

    runs, swanlab = list[str](), SimpleNamespace(get_run=get_run)
    start.mend_swanlab(Callback)
    callback = Callback()
    assert callback._swanlab.get_run() is None
    runs.append("mine")
    assert callback._swanlab.get_run() == "mine"
