"""What the process of a stage of kind `dpo` mends in LLaMA-Factory, on stand-ins for its classes."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.stand_ins import bare, stand_in

IMAGE, BEGIN, END = 7, 8, 9


@pytest.fixture(scope="module")
def start() -> Any:
    from virc.engines.llamafactory.preferences import start

    return start


@pytest.mark.parametrize(("first", "second"), [("chosen_", "rejected_"), ("", "kl_")], ids=["pairs", "one by one"])
def test_no_token_of_an_image_is_learnt_on_either_side(start: Any, first: str, second: str) -> None:
    class Processor:
        template = SimpleNamespace(
            mm_plugin=SimpleNamespace(vision_bos_token="<b>", image_token="<i>", vision_eos_token="<e>")
        )
        tokenizer = SimpleNamespace(
            convert_tokens_to_ids=lambda marks: [{"<b>": 8, "<i>": 7, "<e>": 9}[m] for m in marks]
        )

        def preprocess_dataset(self, examples: str) -> dict[str, Any]:
            one, other = [1, 2, BEGIN, IMAGE, END, 3], [1, IMAGE, 4]
            sides = {f"{first}input_ids": [one], f"{first}labels": [[-100, *one[1:]]]}
            more = {f"{second}input_ids": [other], f"{second}labels": [[-100, *other[1:]]]}
            return {**sides, **more, "kto_tags": [examples]}

    start.leave_images_out(Processor, -100)
    found = Processor().preprocess_dataset("asked")
    assert found[f"{first}labels"] == [[-100, 2, -100, -100, -100, 3]]
    assert found[f"{second}labels"] == [[-100, -100, 4]]
    assert found["kto_tags"] == ["asked"]


def test_the_baseline_of_bco_comes_back_exactly(start: Any, tmp_path: Path) -> None:
    class Trainer:
        def __init__(self, running: Any = None) -> None:
            self.callbacks: list[Any] = []
            if running:
                self.running = running

        def add_callback(self, callback: Any) -> None:
            self.callbacks.append(callback)

    start.keep_baseline(Trainer)
    assert not Trainer().callbacks
    moments = SimpleNamespace(mean=0.1 + 0.2, std=1.5, var=1e-9 / 3, count=3.0)
    (tmp_path / "checkpoint-4").mkdir()
    saving = SimpleNamespace(should_save=True, output_dir=str(tmp_path), resume_from_checkpoint=None)
    Trainer(moments).callbacks[0].on_save(saving, SimpleNamespace(global_step=4), None)
    again = SimpleNamespace(mean=0, std=1, var=1, count=1e-24)
    resumed = SimpleNamespace(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    Trainer(again).callbacks[0].on_train_begin(resumed, None, None)
    assert again == moments
    beside = SimpleNamespace(should_save=False, output_dir=str(tmp_path / "none"))
    Trainer(moments).callbacks[0].on_save(beside, SimpleNamespace(global_step=4), None)  # another process does
    assert json.loads((tmp_path / "checkpoint-4" / start.BASELINE).read_text())["count"] == 3


def test_a_run_that_begins_has_no_baseline_to_take_up(start: Any, tmp_path: Path) -> None:
    moments = SimpleNamespace(mean=0, std=1, var=1, count=1e-24)
    for resumed in (None, str(tmp_path)):  # and neither has a checkpoint of another loss
        start.KeepsBaseline(moments).on_train_begin(SimpleNamespace(resume_from_checkpoint=resumed), None, None)
    assert moments == SimpleNamespace(mean=0, std=1, var=1, count=1e-24)


def test_the_reference_computes_as_the_model_does(start: Any) -> None:
    made = SimpleNamespace(cast=0)
    made.float = lambda: setattr(made, "cast", made.cast + 1)
    workflow = SimpleNamespace(create_ref_model=lambda *args: made if args else None)
    alike = start.AlikeReference()
    alike.watch(workflow)
    assert workflow.create_ref_model() is None
    assert workflow.create_ref_model("args") is made
    device = SimpleNamespace(type="cpu")
    for kind, bf16, deepspeed in (("cpu", True, None), ("cuda", False, None), ("cpu", False, "zero.json")):
        other = SimpleNamespace(device=SimpleNamespace(type=kind), bf16=bf16, deepspeed=deepspeed)
        alike.on_train_begin(other, None, None)
    assert made.cast == 0
    alike.on_train_begin(SimpleNamespace(device=device, bf16=False, deepspeed=None), None, None)
    assert made.cast == 1


@pytest.mark.parametrize("prefix", ["", "kl_"])
def test_passes_of_kto_say_which_tokens_are_those_of_images(start: Any, prefix: str) -> None:
    import torch

    class Trainer:
        accelerator = SimpleNamespace(
            unwrap_model=lambda model: SimpleNamespace(config=SimpleNamespace(image_token_id=7))
        )

        def forward(self, model: Any, batch: Any, prefix: str = "") -> Any:
            return model(prefix)

    start.give_positions(Trainer)
    ids = {"input_ids": torch.tensor([[1, IMAGE, IMAGE]]), "kl_input_ids": torch.tensor([[IMAGE, 2, 3]])}
    shown, given = Trainer().forward(lambda prefix, mm_token_type_ids: (mm_token_type_ids, prefix), ids, prefix)
    assert (shown.tolist(), given) == ([[1, 0, 0] if prefix else [0, 1, 1]], prefix)


def test_all_that_is_mended_for_preferences_is(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trains = {"dpo": {"workflow": None, "trainer": None}, "kto": {"workflow": None, "trainer": None}}
    stand_in(monkeypatch, {
        "llamafactory.data.processor.pairwise": {**bare("PairwiseDatasetProcessor"), "IGNORE_INDEX": -1},
        "llamafactory.data.processor.feedback": {**bare("FeedbackDatasetProcessor"), "IGNORE_INDEX": -2},
        "llamafactory.train.dpo.trainer": bare("CustomDPOTrainer"), "llamafactory.train.dpo.workflow": {},
        "llamafactory.train.kto.trainer": bare("CustomKTOTrainer"), "llamafactory.train.kto.workflow": {},
    })  # fmt: skip
    packages = {"data.processor": ("pairwise", "feedback"), **{f"train.{kind}": tuple(trains[kind]) for kind in trains}}
    for package, names in packages.items():
        for name in names:
            child = sys.modules[f"llamafactory.{package}.{name}"]
            vars(sys.modules[f"llamafactory.{package}"])[name] = child
    mended: list[tuple[Any, ...]] = []
    for name in ("leave_images_out", "keep_baseline", "give_positions"):
        monkeypatch.setattr(start, name, lambda given, *more: mended.append((getattr(given, "__name__", ""), *more)))
    monkeypatch.setattr(start.AlikeReference, "watch", lambda self, workflow: mended.append((workflow.__name__,)))
    (alike,) = start.prepare()
    assert isinstance(alike, start.AlikeReference)
    assert mended == [
        ("PairwiseDatasetProcessor", -1), ("FeedbackDatasetProcessor", -2),
        ("CustomDPOTrainer",), ("CustomKTOTrainer",),
        ("llamafactory.train.dpo.workflow",), ("llamafactory.train.kto.workflow",),
    ]  # fmt: skip
