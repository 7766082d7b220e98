"""Rollouts by transformers in verl 0.9.1: `actor_rollout_ref.rollout.name: virc`, if vLLM has no device.

Each actor process has a replica: a Ray actor with a copy of the model, which draws for all requests that wait at once
and gets new weights after every step. Log-probabilities are those of the whole vocabulary at the requested temperature,
as the actor computes them.

A reply depends only on the weights, its prompt and the seed of its request: which requests are drawn together varies,
and rounding with it, but float32 is computed in float64, where that changes nothing.
"""

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import ray  # type: ignore[import-not-found]
import torch
from transformers import (
    AutoModelForImageTextToText,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from verl.utils.config import omega_conf_to_dataclass  # type: ignore[import-not-found]
from verl.workers.config import HFModelConfig  # type: ignore[import-not-found]
from verl.workers.rollout.base import BaseRollout  # type: ignore[import-not-found]
from verl.workers.rollout.replica import RolloutReplica, TokenOutput  # type: ignore[import-not-found]

from virc.backends.local import never_said
from virc.core.seeds import derived
from virc.families import registry as families

_GATHER = 0.02  # seconds to wait for more requests; those of a step come within that
_CONCURRENT = 4096
_COMPUTED = {"attn_implementation": "sdpa", "experts_implementation": "eager"}  # grouped experts take no float64
_MOST_AT_ONCE = 64


class Sampling(msgspec.Struct, frozen=True):
    """What requests must have in common to be drawn together; verl's sampling parameters by their names."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = -1
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()


class Request(msgspec.Struct, frozen=True, eq=False):
    ids: list[int]
    images: list[Any]
    sampling: Sampling
    most: int
    seed: int
    reply: "asyncio.Future[TokenOutput]"


def sampling_of(parameters: Mapping[str, Any]) -> Sampling:
    given = {key: value for key, value in parameters.items() if value is not None}
    for key in ("logprobs", "max_tokens", "max_new_tokens", "logit_bias", "seed"):
        given.pop(key, None)
    if isinstance(given.get("stop"), str):
        given["stop"] = (given["stop"],)
    unknown = sorted(set(given) - set(Sampling.__struct_fields__))
    if unknown:
        raise ValueError(f"the rollout virc knows no sampling parameter {', '.join(unknown)}")
    return msgspec.convert(given, Sampling, strict=False)


class Drawn(LogitsProcessor):
    """Bars ids from being drawn, and keeps the log-probability of each id that was.

    Args:
        temperature: what logits are divided by; 0 counts as 1.
    """

    def __init__(self, barred: torch.Tensor, temperature: float) -> None:
        self._barred = barred
        self._temperature = temperature or 1.0
        self._last: torch.Tensor | None = None
        self._found: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Take the raw logits of the next id, shape (batch, vocabulary); return them with the barred ones at -inf."""
        self._keep(input_ids)
        self._last = (scores.float() / self._temperature).log_softmax(-1)
        return scores.index_fill(-1, self._barred.to(scores.device), float("-inf"))

    def finish(self, sequences: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of all ids drawn, shape (batch, drawn)."""
        self._keep(sequences)
        return torch.stack(self._found, 1)

    def _keep(self, ids: torch.Tensor) -> None:
        if self._last is not None:
            self._found.append(self._last.gather(-1, ids[:, -1:])[:, 0])


class Chosen(LogitsProcessor):
    """Leaves one id of each row, chosen by its probability and by the row's own `most` random numbers."""

    def __init__(self, seeds: Sequence[int], most: int) -> None:
        rows = [torch.rand(most, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in seeds]
        self._numbers = iter(torch.stack(rows, 1)[..., None])

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Take the logits of the next id, shape (batch, vocabulary); return them with all but one at -inf."""
        sums = scores.double().softmax(-1).cumsum(-1)
        chosen = torch.searchsorted(sums, next(self._numbers).to(scores.device) * sums[:, -1:], right=True)
        return torch.full_like(scores, float("-inf")).scatter(-1, chosen, 0.0)


class Ends(StoppingCriteria):
    """Ends each row at an end-of-turn id, a stop string or its own limit, and keeps how many ids it has by then."""

    def __init__(
        self, start: int, most: Sequence[int], ends: Iterable[int], stop: Sequence[str], tokenizer: Any
    ) -> None:
        self.lengths = torch.zeros(len(most), dtype=torch.long)
        self._start, self._most, self._stop, self._tokenizer = start, torch.tensor(most), stop, tokenizer
        self._ends = torch.tensor(sorted(ends))

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Which rows are done, shape (batch,)."""
        drawn = input_ids.shape[1] - self._start
        done = torch.isin(input_ids[:, -1].cpu(), self._ends) | (drawn >= self._most)
        if self._stop:
            texts = self._tokenizer.batch_decode(input_ids[:, self._start :])
            done |= torch.tensor([any(word in text for word in self._stop) for text in texts])
        self.lengths[done & (self.lengths == 0)] = drawn
        return (self.lengths > 0).to(input_ids.device)


class Server:
    """The model of one replica, by verl's rollout and model settings."""

    def __init__(self, config: Any, model_config: Any) -> None:
        self._config = omega_conf_to_dataclass(config)
        model = omega_conf_to_dataclass(model_config, dataclass_type=HFModelConfig)
        self._processor, self._tokenizer = model.processor, model.tokenizer
        automatic: Any = AutoModelForImageTextToText
        number = "float64" if self._config.dtype == "float32" else self._config.dtype
        self._model = automatic.from_pretrained(
            model.local_path, dtype=getattr(torch, number), trust_remote_code=False, **_COMPUTED
        ).eval()
        ends = self._model.generation_config.eos_token_id
        self._ends = {*(ends if isinstance(ends, list) else [ends]), self._tokenizer.eos_token_id}
        # A model's own settings, penalties among them, would take effect.
        self._model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
        self._barred = never_said(self._tokenizer, self._model.config)
        self._step: int | None = None
        self._waiting: list[Request] = []
        self._drawing: asyncio.Task[None] | None = None

    async def ready(self) -> bool:
        """Whether the model is loaded; Ray answers when it is."""
        return True

    async def load(self, weights: Mapping[str, torch.Tensor], step: int | None) -> None:
        given = dict(weights)
        for name, weight in self._model.named_parameters():
            experts, _, last = name.rpartition(".")
            if experts.endswith(".experts") and name not in given:  # verl sends each expert's, as vLLM reads them
                parts = ("gate_proj", "up_proj") if last == "gate_up_proj" else (last,)
                names = ([f"{experts}.{number}.{part}.weight" for part in parts] for number in range(len(weight)))
                given[name] = torch.stack([torch.cat([given.pop(each) for each in one]) for one in names])
        found = self._model.load_state_dict(given, strict=False)
        tied = {"lm_head.weight"} if self._model.config.tie_word_embeddings else set()
        if wrong := sorted({*found.missing_keys, *found.unexpected_keys} - tied):
            raise RuntimeError(f"{len(wrong)} weights are missing or unknown to the rollout: {wrong[:4]}")
        self._step = step

    async def generate(
        self,
        prompt_ids: list[int],
        sampling_params: dict[str, Any],
        request_id: str,
        image_data: list[Any] | None = None,
        video_data: list[Any] | None = None,
        **_: Any,
    ) -> TokenOutput:
        """Draw one reply: verl's call of every rollout server.

        `prompt_ids` have a pad id for every patch of every image; `request_id` gives a request without a seed its own.
        """
        most = sampling_params.get("max_tokens") or sampling_params.get("max_new_tokens")
        room = self._config.prompt_length + self._config.response_length - len(prompt_ids)
        most = max(1, min(most or self._config.response_length, room))
        reply = asyncio.get_running_loop().create_future()
        seed = sampling_params.get("seed", derived(self._config.seed, request_id))
        self._waiting.append(
            Request(list(prompt_ids), image_data or [], sampling_of(sampling_params), most, seed, reply)
        )
        if self._drawing is None or self._drawing.done():
            self._drawing = asyncio.create_task(self._draw_all())
        return await reply

    async def _draw_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(_GATHER)
            batch = self._next()
            try:
                replies = await asyncio.to_thread(self._draw, batch)
            except Exception as error:  # each request's own caller gets it
                for request in batch:
                    request.reply.set_exception(error)
            else:
                for request, reply in zip(batch, replies, strict=True):
                    request.reply.set_result(reply)

    def _next(self) -> list[Request]:
        sampling = self._waiting[0].sampling
        batch = [request for request in self._waiting if request.sampling == sampling][:_MOST_AT_ONCE]
        self._waiting = [request for request in self._waiting if request not in batch]
        return batch

    @torch.inference_mode()
    def _draw(self, batch: Sequence[Request]) -> list[TokenOutput]:
        sampling = batch[0].sampling
        inputs = self._inputs(batch)
        start = inputs["input_ids"].shape[1]
        limits = [request.most for request in batch]
        ends = Ends(start, limits, self._ends | set(sampling.stop_token_ids), sampling.stop, self._tokenizer)
        drawn = Drawn(self._barred, sampling.temperature)
        chosen = _choices(sampling, [request.seed for request in batch], max(limits))
        sequences = self._model.generate(
            **inputs,
            do_sample=False,
            repetition_penalty=sampling.repetition_penalty,
            max_new_tokens=max(limits),
            logits_processor=LogitsProcessorList([drawn, *chosen]),
            stopping_criteria=StoppingCriteriaList([ends]),
            pad_token_id=self._tokenizer.pad_token_id,
        )
        chances = drawn.finish(sequences).tolist()
        replies = sequences[:, start:].tolist()
        return [
            TokenOutput(
                token_ids=ids[:length],
                log_probs=row[:length],
                stop_reason="completed",
                extra_fields={"global_steps": self._step},
            )
            for ids, row, length in zip(replies, chances, ends.lengths.tolist(), strict=True)
        ]

    def _inputs(self, batch: Sequence[Request]) -> dict[str, torch.Tensor]:
        longest = max(len(request.ids) for request in batch)
        gaps = [longest - len(request.ids) for request in batch]
        pad = self._tokenizer.pad_token_id
        ids = torch.tensor([[pad] * gap + request.ids for gap, request in zip(gaps, batch, strict=True)])
        mask = torch.tensor([[0] * gap + [1] * (longest - gap) for gap in gaps])
        inputs = {"input_ids": ids, "attention_mask": mask}
        images = [image for request in batch for image in request.images]
        if images:
            inputs |= self._processor.image_processor(images=images, return_tensors="pt")
            for count in [name for name in inputs if name.startswith(("num_", "grids"))]:  # of tiles
                inputs.pop(count)
            is_image = (ids == self._model.config.image_token_id).int()
            if types := families.of(self._model.config.model_type).marks.types:
                inputs[types] = is_image
            if "image_grid_thw" in inputs:
                inputs["mm_token_type_ids"] = is_image
        return inputs

    async def wake_up(self, tags: list[str] | None = None) -> None:
        """The model stays where it is; so for all below."""

    async def sleep(self) -> None: ...

    async def clear_kv_cache(self) -> None: ...

    async def release_kv_cache(self) -> None: ...

    async def resume_kv_cache(self) -> None: ...

    async def abort_all_requests(self, reject_request: bool = False) -> None: ...

    async def resume_generation(self) -> None: ...


class Replica(RolloutReplica):  # type: ignore[misc]
    """One server for one actor process."""

    async def launch_servers(self) -> None:
        """Raises ValueError: the settings split the rollout's model over devices."""
        if self.world_size != 1:
            raise ValueError("the rollout virc has no parallelism: set tensor_model_parallel_size to 1")
        name = _server(self.replica_rank)
        server = ray.remote(Server).options(name=name, max_concurrency=_CONCURRENT, num_cpus=0)
        self.servers = [server.remote(self.config, self.model_config)]
        await self.servers[0].ready.remote()
        # verl reads the attributes themselves, not the properties of their names
        self._server_handle, self._server_address = self.servers[0], name


class WeightsSender(BaseRollout):  # type: ignore[misc]
    """The actor process's side of its server: where weights are sent."""

    async def resume(self, tags: list[str]) -> None:
        """The server keeps its memory."""

    async def release(self) -> None:
        """The server keeps its memory."""

    @torch.no_grad()
    async def update_weights(
        self,
        weights: Iterable[tuple[str, torch.Tensor]],
        wire_format: str = "named_tensors",
        global_steps: int | None = None,
        peft_config: Any = None,
        **_: Any,
    ) -> None:
        """Send the weights of a step; all processes come by here, since gathering shards takes them all.

        Raises:
            ValueError: they are adapters, or come in another form.
        """
        if peft_config is not None or wire_format != "named_tensors":
            raise ValueError("the rollout virc takes whole weights: set actor_rollout_ref.model.lora.merge")
        number = getattr(torch, self.config.dtype)
        whole = {name: weight.detach().to("cpu", number, copy=True) for name, weight in weights}
        await ray.get_actor(_server(int(os.environ["RANK"]))).load.remote(ray.put(whole), global_steps)


def _server(rank: int) -> str:
    return f"virc_rollout_{rank}"


def _choices(sampling: Sampling, seeds: Sequence[int], most: int) -> list[LogitsProcessor]:
    """How an id is chosen from logits: the steps of transformers, but with random numbers of each row's own."""
    if not sampling.temperature:
        return []
    steps: list[Any] = [TemperatureLogitsWarper(float(sampling.temperature))]
    if sampling.top_k > 0:
        steps.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        steps.append(TopPLogitsWarper(sampling.top_p))
    return [*steps, Chosen(seeds, most)]
