"""The engine's process: LLaMA-Factory, which on SIGTERM ends its step, saves, and stops, on every device alike.

`python -m virc.engines.llamafactory.start ENGINE_YAML`, in the engine's environment. The trainer's own way
(`enable_jit_checkpoint`) is not taken. There each process decides by its own clock, so that one may stop a step before
another, which then waits for it for ever. And it saves before the optimizer's step, which DeepSpeed has taken by then:
the checkpoint is a step further than it says.
"""

import math
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from types import FrameType
from typing import Any, NoReturn

import torch
import transformers
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import integration_utils

from virc.core.orphans import end_with_parent
from virc.engines.environment import check_finite, refuse_missing_weights
from virc.engines.merge import common as merging
from virc.families import registry as families

_MORE = {
    "grad_norm": "grad_norm", "margin": "rewards/margins", "accuracy": "rewards/accuracies",
    "chosen": "rewards/chosen", "rejected": "rewards/rejected",
}  # fmt: skip
"""Name in a line of metrics -> what is logged and not written."""


class SavesOnSignal(TrainerCallback):
    """Stops at the end of the step in which any process got the signal."""

    def __init__(self) -> None:
        self._stopping = self._stops = False

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Listen from here on; before, there is nothing to save."""
        signal.signal(signal.SIGTERM, self._tell)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._stops = self._any_stopping(args.device)
        if self._stops:
            control.should_save = control.should_training_stop = True

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """The trainer comes by here also when it stops within an epoch; it has saved then."""
        if self._stops:
            control.should_save = False

    def _tell(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _any_stopping(self, device: torch.device) -> bool:
        if not torch.distributed.is_initialized():
            return self._stopping
        stopping = torch.tensor(int(self._stopping), device=device)
        torch.distributed.all_reduce(stopping, torch.distributed.ReduceOp.MAX)
        return bool(stopping.item())


class EndsWhereDiverged(TrainerCallback):
    """Ends the run at the first loss, gradient or weight that is not finite, before such weights are saved."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        """Look at what is logged; transformers would leave such losses out of their mean (`logging_nan_inf_filter`)."""
        for name in ("loss", "grad_norm"):
            if not math.isfinite(value := float((logs or {}).get(name, 0))):
                raise FloatingPointError(f"the {name} of step {state.global_step} is {value}")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        if control.should_save:
            check_finite(model, state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        check_finite(model, state.global_step)


class Prepares(TrainerCallback):
    """Makes the model faster and smaller to train than LLaMA-Factory and peft leave it, and its files vLLM's."""

    def on_init_end(self, *_: Any, model: Any = None, **__: Any) -> None:
        merging.turn_back()
        model.register_load_state_dict_pre_hook(turn)  # to resume, the trainer loads tensors as they lie in the files

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        keep_gradients_out(model)
        if args.device.type == "cpu" and not args.bf16 and not args.deepspeed:
            # LLaMA-Factory makes the trained weights float32 and leaves the frozen ones as they are in their files:
            # a CPU that emulates bfloat16 takes seventeen times as long for those
            model.float()


def turn(model: Any, state: dict[str, Any], *_: Any) -> None:
    """Turn experts that are to be loaded as `merging.turn_back` had them written."""
    for name, weight in model.named_parameters():
        if name in state and weight.dim() == 3 and weight.shape == state[name].mT.shape != state[name].shape:
            state[name] = state[name].mT


def keep_gradients_out(model: Any) -> None:
    """Take back that the patches of a frozen vision tower need gradients.

    peft asks that of every embedding, so that gradients reach adapters behind frozen layers. In a tower without any it
    would only keep all activations: 46 KB a patch and block of Qwen2.5-VL.
    """
    words = model.get_input_embeddings()
    for tower in model.modules():
        if isinstance(tower, PreTrainedModel) and not any(weight.requires_grad for weight in tower.parameters()):
            with suppress(NotImplementedError):  # peft asks nothing of a tower that does not say what its embedding is
                if (patches := tower.get_input_embeddings()) not in (None, words):
                    patches.register_forward_hook(lambda module, given, made: made.detach())  # after peft's


def know_families(visual: Any, template: Any) -> None:
    """Tell LLaMA-Factory, by its modules of parts and of templates, what the files of the families say.

    It knows no parts of some types, of which it then freezes nothing, and not all weights of GLM-4V's vision tower.
    Where it has a template only with thoughts, which asks for them, puts an empty one before replies without any and
    makes a special token of `</answer>`, the one of its name with `_nothink` writes rows as they are.
    """
    for family in families.discover().values():
        for kind, name in family.sft.items():
            if name not in template.TEMPLATES:
                fields = vars(template.TEMPLATES[name.removesuffix("_nothink")])
                ends = [word for word in fields["stop_words"] if not word.startswith("</")]
                fields["format_system"].slots[:] = [s.replace("<|think|>", "") for s in fields["format_system"].slots]
                template.TEMPLATES[name] = template.Template(**{**fields, "stop_words": ends})
            if family.is_unmarked:
                mark(template.TEMPLATES[name], family)
            parts = [list(family.parts[part]) for part in ("projector", "vision")]
            visual._register_composite_model(kind, *parts, ["language_model", "lm_head"], ["patch_embed", "_norm"])


def adapt_layers_alone(adapter: Any) -> None:
    """Have LLaMA-Factory's module of adapters name linear layers alone: peft refuses what Gemma 4 has around them."""
    named = adapter.patch_target_modules
    adapter.patch_target_modules = lambda model, *others: [
        each for each in named(model, *others) if isinstance(model.get_submodule(each), torch.nn.Linear)
    ]


def mark(template: Any, family: families.Family) -> None:
    """Have LLaMA-Factory write the marks that its template leaves out, and cut no image: LFM2-VL's miscounts tiles."""
    process, marks, image = template.mm_plugin.process_messages, family.marks, "".join(family.marks.image)
    template.mm_plugin.process_messages = lambda messages, *media: process(
        [{**each, "content": each["content"].replace(marks.image[1], image)} for each in messages], *media
    )
    template.format_prefix.slots = list(marks.begin)
    getattr(transformers, f"{family.images.named}ImageProcessor")._is_image_too_large = lambda *_, **__: False


def leave_images_out(processor: Any, ignored: int) -> None:
    """Keep the trainer from learning ids of images: it would learn crops in a turn of the assistant as the model's own.

    `preprocess_dataset` of the class `processor` returns the columns `labels` and `input_ids`; of pairs, two of each
    with a prefix for the side.
    """
    preprocess = processor.preprocess_dataset

    def preprocessed(self: Any, examples: Any) -> Any:
        known = self.tokenizer.get_vocab()
        marks = {mark for family in families.discover().values() for mark in family.marks.image}
        image_ids = {known[mark] for mark in marks if mark in known}
        columns = preprocess(self, examples)
        for name in [each for each in columns if each.endswith("labels")]:
            rows = zip(columns[name.removesuffix("labels") + "input_ids"], columns[name], strict=True)
            columns[name] = [
                [ignored if id in image_ids else label for id, label in zip(ids, labels, strict=True)]
                for ids, labels in rows
            ]
        return columns

    processor.preprocess_dataset = preprocessed


def write_more(callback: Any) -> None:
    """Have LLaMA-Factory's own lines of metrics say how long the gradient is, and how far apart two sides are."""
    on_log, write, found = callback.on_log, callback._write_log, dict[int, dict[str, float]]()

    def logged(self: Any, args: Any, state: TrainerState, *others: Any, **named: Any) -> None:
        last = state.log_history[-1] if state.log_history else {}
        more = {ours: last.get(theirs) for ours, theirs in _MORE.items()}
        found[state.global_step] = {name: value for name, value in more.items() if value is not None}
        on_log(self, args, state, *others, **named)

    def written(self: Any, folder: str, line: dict[str, Any]) -> None:  # in another thread, after `logged`
        write(self, folder, {**line, **found.get(line.get("current_steps", -1), {})})

    callback.on_log, callback._write_log = logged, written


def count_packed(trainer: Any) -> None:
    """Have the trainer count the tokens of packed rows by their padding: their mask numbers rows, or is of floats."""
    count, mask = trainer._track_num_input_tokens, "attention_mask"
    trainer._track_num_input_tokens = lambda self, inputs: count(
        self, {name: each for name, each in inputs.items() if name != mask or (each.dim() == 2 and each.max() <= 1)}
    )


def mend_swanlab(callback: Any) -> None:
    """Have `swanlab.get_run` return None before there is a run, as transformers expects: from 0.8 on it raises."""
    make = callback.__init__

    def made(self: Any) -> None:
        make(self)
        get_run = self._swanlab.get_run

        def run_if_any() -> Any:
            with suppress(RuntimeError):
                return get_run()
            return None

        self._swanlab.get_run = run_if_any

    callback.__init__ = made


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """End before the training begins, in order: a lock that DeepSpeed compiles under would stay for ever."""
    sys.exit(128 + number)


def meet(seconds: float = 600.0) -> None:
    """Wait for the other processes that torchrun has started on all nodes, before gigabytes are read.

    The trainer's own waiting has no end (`ddp_timeout`).
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    c10d: Any = torch.distributed
    host, port, size, own = (os.environ[name] for name in ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK"))
    limit, ranks, late = timedelta(seconds=seconds), [str(rank) for rank in range(int(size))], "the first node"
    try:
        server = c10d.TCPStore(host, int(port), is_master=False, timeout=limit)
        store = c10d.PrefixStore(f"virc/{os.environ.get('TORCHELASTIC_RESTART_COUNT')}", server)
        store.set(own, "")
        late = ""
        store.wait(ranks, limit)
    except RuntimeError as error:
        late = late or f"process {', '.join(rank for rank in ranks if not store.check([rank]))} of {size}"
        raise TimeoutError(f"waited {seconds:g} s at {host}:{port} for {late}") from error


def run(prepare: Callable[[], list[TrainerCallback]]) -> None:
    end_with_parent()  # torchrun's workers, each in a session of its own, would stay when it is killed
    if os.environ.get("DS_ACCELERATOR") == "cpu":
        # Its shared memory between processes takes minutes to be compiled, and gloo carries as well.
        import deepspeed  # type: ignore[import-not-found]

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    signal.signal(signal.SIGTERM, _end)
    meet()
    from llamafactory.data import template  # type: ignore[import-not-found]
    from llamafactory.model import adapter  # type: ignore[import-not-found]
    from llamafactory.model.model_utils import visual  # type: ignore[import-not-found]
    from llamafactory.train import callbacks  # type: ignore[import-not-found]
    from llamafactory.train.tuner import run_exp  # type: ignore[import-not-found]

    write_more(callbacks.LogCallback)
    know_families(visual, template)
    adapt_layers_alone(adapter)
    refuse_missing_weights(PreTrainedModel)
    count_packed(transformers.Trainer)
    mend_swanlab(integration_utils.SwanLabCallback)
    further = prepare()
    run_exp(callbacks=[SavesOnSignal(), EndsWhereDiverged(), Prepares(), *further])


def _prepare() -> list[TrainerCallback]:
    from llamafactory.data.processor import supervised  # type: ignore[import-not-found]

    for processor in (supervised.SupervisedDatasetProcessor, supervised.PackedSupervisedDatasetProcessor):
        leave_images_out(processor, supervised.IGNORE_INDEX)
    return []


if __name__ == "__main__":
    run(_prepare)
