"""The engine's process in a stage of kind `dpo`: as `engines.llamafactory.start`, with LLaMA-Factory's faults mended.

`python -m virc.engines.llamafactory.preferences.start ENGINE_YAML`, in the engine's environment. In 0.9.5

- KTO gives the model no positions of images, so that it takes them for text (transformers computes them from
  `mm_token_type_ids`, which it does not get either);
- the running mean of rewards that BCO subtracts is not in a checkpoint, so that a resumed run goes on with another one;
- a reference on a CPU keeps the bfloat16 of its file, while the model computes in float32.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from virc.engines.llamafactory.start import leave_images_out, run

BASELINE = "bco_baseline.json"
_MOMENTS = ("mean", "std", "var", "count")


class AlikeReference(TrainerCallback):
    """Has the reference compute as the model does, on a CPU: `Prepares` makes that float32."""

    def __init__(self) -> None:
        self.models: list[Any] = []

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if args.device.type == "cpu" and not args.bf16 and not args.deepspeed:
            for model in self.models:
                model.float()

    def watch(self, workflow: Any) -> None:
        make = workflow.create_ref_model

        def made(*args: Any, **named: Any) -> Any:
            model = make(*args, **named)
            self.models += [] if model is None else [model]
            return model

        workflow.create_ref_model = made


class KeepsBaseline(TrainerCallback):
    def __init__(self, moments: Any) -> None:
        self._moments = moments

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        file = Path(str(args.resume_from_checkpoint)) / BASELINE
        if args.resume_from_checkpoint and file.is_file():
            for name, value in json.loads(file.read_bytes()).items():
                setattr(self._moments, name, value)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if args.should_save:
            values = {name: float(getattr(self._moments, name)) for name in _MOMENTS}
            (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / BASELINE).write_text(json.dumps(values))


def keep_baseline(trainer: Any) -> None:
    begin = trainer.__init__

    def begun(self: Any, *args: Any, **named: Any) -> None:
        begin(self, *args, **named)
        if hasattr(self, "running"):
            self.add_callback(KeepsBaseline(self.running))

    trainer.__init__ = begun


def give_positions(trainer: Any) -> None:
    """Have KTO's passes say which tokens are those of images."""
    forward = trainer.forward

    def placed(self: Any, model: Any, batch: dict[str, torch.Tensor], prefix: str = "") -> Any:
        shown = batch[f"{prefix}input_ids"] == self.accelerator.unwrap_model(model).config.image_token_id
        return forward(self, partial(model, mm_token_type_ids=shown.int()), batch, prefix)

    trainer.forward = placed


def prepare() -> list[TrainerCallback]:
    from llamafactory.data.processor import feedback, pairwise  # type: ignore[import-not-found]
    from llamafactory.train.dpo import trainer as dpo_trainer  # type: ignore[import-not-found]
    from llamafactory.train.dpo import workflow as dpo
    from llamafactory.train.kto import trainer as kto_trainer  # type: ignore[import-not-found]
    from llamafactory.train.kto import workflow as kto

    leave_images_out(pairwise.PairwiseDatasetProcessor, pairwise.IGNORE_INDEX)
    leave_images_out(feedback.FeedbackDatasetProcessor, feedback.IGNORE_INDEX)
    keep_baseline(dpo_trainer.CustomDPOTrainer)
    give_positions(kto_trainer.CustomKTOTrainer)
    alike = AlikeReference()
    for workflow in (dpo, kto):
        alike.watch(workflow)
    return [alike]


if __name__ == "__main__":
    run(prepare)
