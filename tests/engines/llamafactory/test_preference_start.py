"""What the process of a stage of kind `dpo` mends in LLaMA-Factory, on stand-ins for its classes."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

IMAGE, BEGIN, END = 7, 8, 9

pytestmark = pytest.mark.integration


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
