"""A system in TRL's GRPOTrainer: each rollout has an environment, whose one tool takes the model's reply as it is.

After the prompt TRL shows pictures to a model only in results of tools. A reply that does not end the rollout is
therefore parsed as a call of the tool `reply` with all of its text, and the chat template writes the tool's result as
the turn that the system has there. `trainer_of` makes the trainer; `_check_pictures` checks once that it sees pictures.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

from datasets import Dataset  # type: ignore[import-not-found, unused-ignore]
from trl import GRPOTrainer  # type: ignore[import-not-found, unused-ignore]

from virc.backends.checkpoint import image_grid
from virc.core.errors import ConfigError
from virc.data.rows.record import Record
from virc.engines.verl.trainer_pixels import check_trainer
from virc.reasoning.messages import FormatError, parse
from virc.reasoning.session import Reply
from virc_extras.export.environment import Conversation, Environment, terms_of

_VERSIONS = ("1.16.",)
"""Versions of TRL in which images of tools were seen to reach the forward pass of training."""
TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + ('user' if message.role == 'tool' else message.role) + '\\n' -}}
{%- if message.content is string -%}{{- message.content -}}
{%- else -%}
{%- for part in message.content -%}
{{- '<|vision_start|><|image_pad|><|vision_end|>' if part.type == 'image' else part.text -}}
{%- endfor -%}
{%- endif -%}
{%- for call in message.tool_calls or [] -%}{{- call | tojson -}}{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""
"""ChatML: the messages as they are, tools unlisted, since the system message of a system lists its own."""


class Rollout:
    """A problem with the replies to it; TRL makes one for each rollout of a batch, and takes it again for the next."""

    def __init__(self, environment: Environment, problems: Sequence[Record]) -> None:
        self._environment, self._problems, self._row = environment, problems, 0
        self._talk: Conversation | None = None

    def reset(self, row: int, **_: Any) -> list[dict[str, Any]]:
        """Begin the problem of a row; returns the parts of its first turn."""
        self._row, self._talk = row, self._environment.begin(self._problems[row])
        return _parts(self._talk, self._talk.ask.messages[-1])

    def reply(self, text: str) -> list[dict[str, Any]]:
        """Take a reply.

        Args:
            text: all that the model wrote.

        Returns:
            The parts of the next turn.
        """
        assert self._talk
        if not self._talk.over:
            self._talk.feed(Reply(text))
        if self._talk.over:  # TRL draws one more reply, which does not count
            return [{"type": "text", "text": "The problem is over."}]
        return _parts(self._talk, self._talk.ask.messages[-1])

    def _shown(self) -> list[Any]:
        """The pictures that a reply followed."""
        assert self._talk
        messages = self._talk.ask.messages
        replied = max((at for at, each in enumerate(messages) if each.role == "assistant"), default=0)
        return [self._talk.images[image].pixels for each in messages[:replied] for image in each.images]

    def _end(self, text: str) -> tuple[int, Sequence[str]]:
        assert self._talk
        if not self._talk.over:
            self._talk.feed(Reply(text))
        return self._row, self._talk.replies


def trainer_of(environment: Environment, rows: str | None = None) -> type[Any]:
    """The trainer of a system: a GRPOTrainer with its problems, environments, chat template and reward.

    Raises:
        ConfigError: the installed TRL is not one whose trainer sees the images of tools.
    """
    if not version("trl").startswith(_VERSIONS):
        raise ConfigError(f"TRL {version('trl')} was not seen to train on images of tools", "pip install 'trl~=1.16.0'")
    problems = environment.problems(rows)

    class Trainer(GRPOTrainer):  # type: ignore[misc]
        """Takes the arguments of GRPOTrainer but for `reward_funcs`, `train_dataset` and what makes rollouts."""

        def __init__(self, model: Any, args: Any, processing_class: Any, **given: Any) -> None:
            if args.use_transformers_continuous_batching:
                raise ConfigError("TRL's continuous batching shows the sampler no image", "leave it out")
            self._seen = False
            _prepare(environment, processing_class)
            args.max_tool_calling_iterations = environment.max_turns - 1
            before = environment.begin(problems[0]).ask.messages[:-1]
            prompt = [{"role": each.role, "content": each.text} for each in before]
            data = Dataset.from_list(
                [{"prompt": [*prompt, {"role": "user", "content": ""}], "row": at} for at in range(len(problems))]
            )
            super().__init__(
                model, reward_funcs=[reward], args=args, train_dataset=data, processing_class=processing_class,
                environment_factory=partial(Rollout, environment, problems), **given,
            )  # fmt: skip

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            batch = super()._generate_and_score_completions(inputs)
            shown = sum(len(each._talk.images) for each in self.environments)
            if shown != sum(batch.get("num_images") or ()):
                sentence = f"the rollouts of this step have {shown} images, and TRL trains on them without these"
                raise ConfigError(sentence, "raise max_completion_length: it drops all if it cuts one")
            if not self._seen:
                self._seen = _check_pictures(self, batch)
            return batch

    def reward(environments: Sequence[Rollout], completions: Any, log_metric: Any, **_: Any) -> list[float]:
        ends = [each._end(_said(said)) for each, said in zip(environments, completions, strict=True)]

        async def scored() -> list[Any]:
            return await asyncio.gather(*(environment.score(problems[row], replies) for row, replies in ends))

        found = asyncio.run(scored())
        for each in found:
            for name, value in terms_of(each).items():
                log_metric(name, value)
        rewards: dict[int, float] = {}
        for row in {row for row, _ in ends}:
            group = [at for at, (other, _) in enumerate(ends) if other == row]
            rewards |= dict(zip(group, environment.compared([found[at] for at in group]), strict=True))
        return [rewards[at] for at in range(len(found))]

    reward.__name__ = environment.system.name
    return Trainer


def _check_pictures(trainer: Any, batch: Any) -> bool:
    """Check the rollout of a batch with the most pictures, if it has any, and replies; returns whether it was checked.

    Raises:
        ConfigError: the trainer's log probabilities do not depend on the pictures, or depend on other ones.
    """
    import torch

    shown = [each._shown() for each in trainer.environments]
    at = max(range(len(shown)), key=lambda each: len(shown[each]))
    if not shown[at]:
        return False
    # The pixels of a batch are one tensor, with a row for each patch: those of this rollout begin at `before`.
    patch_counts = batch["image_grid_thw"].prod(-1).split(batch["num_images"])
    before = sum(int(each.sum()) for each in patch_counts[:at])
    ends = [before + int(each) for each in patch_counts[at].cumsum(0)]
    ranges = list(zip([before, *ends], ends, strict=False))
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)[at : at + 1]
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)[at : at + 1]
    reply_mask = batch["completion_mask"][at] * batch.get("tool_mask", batch["completion_mask"])[at]
    if not reply_mask.any():
        return False
    grids = batch["image_grid_thw"].split(batch["num_images"])[at]
    counts, token_types = [batch["num_images"][at]], batch["mm_token_type_ids"][at : at + 1]
    inputs = {"num_images": counts, "image_grid_thw": grids, "mm_token_type_ids": token_types}

    def patches(image: Any) -> Any:
        made = trainer.processing_class.image_processor(images=[image], return_tensors="pt")["pixel_values"]
        return made.to(batch["pixel_values"])

    def logprobs(images: Sequence[Any], recompute: bool = False) -> list[float]:
        pixels = batch["pixel_values"][before : ends[-1]].clone()
        for image, original, (start, stop) in zip(images, shown[at], ranges, strict=False):
            if recompute or image is not original:
                pixels[start - before : stop - before] = patches(image)
        with torch.no_grad():
            keep = batch["completion_ids"].shape[1]
            found = trainer._get_per_token_logps_and_entropies(
                trainer.model, ids, mask, keep, pixel_values=pixels, **inputs
            )[0][0]
        return [float(each) for each in found[reply_mask.bool()]]

    check_trainer(logprobs, shown[at], logprobs(shown[at], recompute=True))
    return True


def _said(completion: Any) -> str:
    """The last reply of a rollout, if it was not a call of the tool, which took its text."""
    last = completion[-1]
    return last["content"] if last["role"] == "assistant" and not last.get("tool_calls") else ""


def _parts(conversation: Conversation, message: Any) -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image", "image": conversation.images[part].pixels}
        for part in message.parts()
    ]


def _prepare(environment: Environment, processor: Any) -> None:
    """Have a processor write and read turns as the system does.

    Raises:
        ConfigError: it would show pictures at other sizes.
    """
    grid = image_grid(processor.image_processor.to_dict())
    if grid != environment.settings.grid:
        sentence = f"this model shows pictures on another grid ({grid}) than the package ({environment.settings.grid})"
        raise ConfigError(sentence, "virc export --base MODEL")
    tokenizer = processor.tokenizer
    processor.chat_template = tokenizer.chat_template = TEMPLATE
    tokenizer.response_template = {"fields": {"content": {"close_pattern": r"<\|im_end\|>\s*", "content": "text"}}}
    tokenizer.parse_response = partial(_parsed, environment, tokenizer)


def _parsed(environment: Environment, tokenizer: Any, ids: Any, **_: Any) -> dict[str, Any]:
    """A reply as a message: a call of the tool with all of its text, unless it ends the rollout."""
    text = tokenizer.decode(ids, skip_special_tokens=True)
    try:
        goes_on = not parse(text, environment.protocol.grammar).answer
    except FormatError:
        goes_on = environment.protocol.errors == "show"
    if not goes_on:
        return {"role": "assistant", "content": text}
    call = {"type": "function", "function": {"name": "reply", "arguments": {"text": text}}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}
