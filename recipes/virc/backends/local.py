"""A model of a family that runs in this process, by transformers, without torchvision."""

import os
import re
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virc.backends import checkpoint, devices, inventory, lora, lora_config
from virc.backends.chatml import Rendered, render
from virc.backends.interface import Calibrate, Likeliest, OnText, Sampling, ScoredReply, TooLongError
from virc.backends.kv_cache import CachedModel
from virc.backends.sampling import Text, penalised, pick, seeded
from virc.config import taken
from virc.config.taken import Left
from virc.core.errors import ConfigError, SetupError
from virc.core.extras import install
from virc.core.interpreter import collection_paused
from virc.core.text import plain
from virc.core.work import forks
from virc.families import registry as families
from virc.families import sizing
from virc.families.chat_marks import CHATML, ChatMarks
from virc.reasoning.images import Shown
from virc.reasoning.messages import up_to
from virc.reasoning.session import Ask, Message, Reply

if TYPE_CHECKING:
    import torch

_DTYPES = ("float32", "bfloat16", "float16")
_SMALL = 500_000_000
_OPENED = r"(<think>\n(?:\n</think>\n\n)?|<\|channel>thought\n<channel\|>)\Z"
_OF_DRAWING = ("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
"""Settings of generation_config.json that hold with `do_sample` alone."""
_VIDEO = ("<|vision_pad|>", "<|video_pad|>", "<|video|>", "<video>")


class LocalBackend:
    """Draws replies from a model in this process; made by `load`.

    One conversation's KV cache is kept between calls (`CachedModel`). Calls from several threads take turns.

    Args:
        opening: ids that every reply begins with.

    Attributes:
        at_once: replies that are drawn at a time.
        warnings: what the user should know, one line each.
        left: what is not read of the model's files.
        context: longest conversation in tokens, the reply included.
        cached: the model with its counters `tokens_fed` and `vision_encodings`.
        calibrate: finds out how boxes are counted, if that is not known; None: it is.
    """

    at_once = 1
    calibrate: Calibrate | None = None

    def __init__(
        self,
        model: str,
        tokenizer: Any,
        cached: CachedModel,
        warnings: tuple[str, ...] = (),
        context: int | None = None,
        opening: Sequence[int] = (),
        left: Left = Left(),  # noqa: B008 (nothing is added to it)
    ) -> None:
        self.left = left
        self._opening = list(opening)
        self.model, self.grid, self.cached, self.warnings = model, cached.grid, cached, warnings
        self.device = str(cached.network.device)
        self._tokenizer = tokenizer
        self._lock, self._home = forks.Lock(), forks.HomeProcess()
        config, generation = cached.network.config, cached.network.generation_config
        ends = generation.eos_token_id
        self._marks = families.of(config.model_type).marks
        self._ends = {tokenizer.convert_tokens_to_ids(self._marks.stop), *(ends if isinstance(ends, list) else [ends])}
        longest: int = config.get_text_config().max_position_embeddings
        self.context = min(context or longest, longest)
        self._never = never_said(tokenizer, config)

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Reply:
        """Draw one assistant turn; those of `ask` with `token_ids` are fed as they were sampled.

        `seconds` are not heeded, since a step of the network cannot be left.

        Returns:
            The text and its ids, with the opening and without the end of turn, and the counts: the opening is part of
            the prompt, the end of turn a completion token.

        Raises:
            TooLongError, EngineError: the conversation is longer than the model takes; the model failed.
            SetupError: memory ran out.
        """
        self._home.check(self.model)
        with self._lock:
            conversation = self._render(ask.messages, ask.images)
            prompt_tokens = len(conversation.ids) + len(self._opening)
            if prompt_tokens >= self.context:
                raise TooLongError(prompt_tokens, self.context)
            text = Text(self._tokenizer, on_text, ask.stop)
            for token in self._opening:
                text.add(token)
            ids, ended, likeliest = self._draw(conversation, ask.images, sampling, text)
            return ScoredReply(
                up_to(text.finish(), ask.stop),  # of the last id, which stays as it was drawn, no more than that
                (*self._opening, *ids),
                "stop" if ended or text.stopped else "length",
                prompt_tokens=prompt_tokens,
                completion_tokens=len(ids) + ended,
                likeliest=likeliest,
            )

    def estimate(self, image_tokens: int) -> tuple[float, float]:
        """Return the seconds to read `image_tokens` ids on this machine, and those a token drawn.

        The former in proportion to a small image: attention makes large ones slower than that.
        """
        self._home.check(self.model)
        with self._lock:
            probe = CachedModel(self.cached.network, self.cached.processor, self.grid)
            for side in (2, 8):  # the first, small, only warms up
                fed, read_seconds, draw_seconds = self._time(probe, side * self.grid.factor)
        return image_tokens * read_seconds / fed, draw_seconds

    @property
    def resample(self) -> Any:
        return self.cached.processor.resample

    def close(self) -> None:
        with self._lock:
            self.cached.clear()
            self.cached.network = None

    def _render(self, messages: Sequence[Message], images: Sequence[Shown]) -> Rendered:
        views = [self.cached.views(shown) for shown in images]
        return render(messages, views, self._tokenizer, generate=True, marks=self._marks)

    def _draw(
        self, conversation: Rendered, images: Sequence[Shown], sampling: Sampling, text: Text
    ) -> tuple[list[int], bool, Likeliest | None]:
        """Ids drawn, whether the turn ended by itself, and the likeliest first ids if they are wanted.

        An id is fed when the one after it is wanted.
        """
        generator = seeded(sampling.seed)
        ids: list[int] = []
        likeliest: Likeliest | None = None
        prompt = [*conversation.ids, *self._opening]
        most = min(sampling.max_tokens, self.context - len(prompt))
        while len(ids) < most and not text.stopped:
            logits = self.cached.append(ids[-1]) if ids else self._read(conversation, images)
            logits = penalised(logits, [*prompt, *ids], sampling.repetition_penalty or 1)
            logits = logits.index_fill(0, self._never.to(logits.device), float("-inf"))
            if sampling.likeliest and not ids:
                likeliest = self._likeliest(logits, sampling.likeliest)
            token = pick(logits, sampling, generator)
            if token in self._ends:
                return ids, True, likeliest
            ids.append(token)
            text.add(token)
        return ids, False, likeliest

    def _likeliest(self, logits: "torch.Tensor", most: int) -> Likeliest:
        """Texts and log-probabilities, at temperature 1, of the likeliest ids."""
        values, ids = logits.float().log_softmax(0).topk(min(most, len(logits)))
        return tuple(
            (self._tokenizer.decode([id]), value) for id, value in zip(ids.tolist(), values.tolist(), strict=True)
        )

    def _read(self, conversation: Rendered, images: Sequence[Shown]) -> "torch.Tensor":
        """Logits of the first id to draw. The opening is read by itself: a later prompt may not hold it."""
        logits = self.cached.read(conversation, images)
        for token in self._opening:
            logits = self.cached.append(token)
        return logits

    def _time(self, probe: CachedModel, side: int) -> tuple[int, float, float]:
        from PIL import Image

        probe.clear()
        images = [Shown(Image.new("RGB", (side, side), "white"))]
        conversation = self._render([Message("user", "What is this?", (0,))], images)
        start = time.perf_counter()
        token = int(probe.read(conversation, images).argmax())
        read = time.perf_counter()
        for _ in range(3):
            token = int(probe.append(token).argmax())
        return len(conversation.ids), read - start, (time.perf_counter() - read) / 3


@collection_paused()
def load(
    folder: Path,
    device: str | None = None,
    dtype: str | None = None,
    max_pixels: int | None = None,
    adapter: Path | None = None,
    context: int | None = None,
    stock: bool = False,
    ignore: Collection[str] = (),
) -> LocalBackend:
    """Load a model from a folder with `config.json`, safetensors weights and `tokenizer.json`.

    Args:
        device: `cuda`, `cuda:N`, `mps` or `cpu`; default the best that works.
        dtype: `float32`, `bfloat16` or `float16`; default float32 under half a billion parameters, else bfloat16.
        max_pixels: lowers the model's own limit on an image's area, in pixels.
        adapter: folder of a LoRA adapter, which is added to the weights.
        context: lowers the model's own limit on a conversation, in tokens.
        stock: a reply begins as in the model's chat template, which may open a thought or skip it.
        ignore: names of files of weights, and of settings of the adapter, that are left out.

    Raises:
        SetupError: torch or transformers is missing, the device does not work, or the model is larger than
            its free memory.
        ConfigError: the folder is no such model, the adapter is none of it, or an argument is wrong.
    """
    torch = _quiet_torch()
    folder = Path(folder)
    checkpoint.check_checkpoint(folder)
    settings, grid = checkpoint.image_settings(folder), checkpoint.folder_grid(folder, max_pixels)
    if dtype not in (None, *_DTYPES):
        raise ConfigError(f"unknown dtype {dtype!r}", hint=", ".join(_DTYPES))
    where, warning = devices.choose(device)
    count = checkpoint.parameters(folder)
    number = getattr(torch, dtype or ("float32" if count < _SMALL else "bfloat16"))
    left = inventory.of_model(folder, ignore)
    if adapter:
        left.update(lora.check_adapter(adapter, folder, ignore))
    added = (adapter / lora_config.WEIGHTS).stat().st_size if adapter else 0
    needed, free = count * number.itemsize + added, devices.free_memory(where)
    if free is not None and needed > free:
        figures = f"needs {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free on {where.type}"
        raise SetupError(f"{folder.name} {figures}", hint="a smaller model, or «--endpoint URL» of a server")
    devices.settle(where, number)
    tokenizer, processor, network = _load(folder, settings, number, where, adapter)
    cached = CachedModel(network, processor, grid)
    name = (adapter or folder).resolve().name
    marks = families.of(network.config.model_type).marks
    opening = thought_opening(tokenizer, marks) if stock else ()
    left.update(_unread(folder, settings, tokenizer, cached, marks))
    return LocalBackend(name, tokenizer, cached, (warning,) if warning else (), context, opening, left)


def _unread(
    folder: Path, settings: Mapping[str, object], tokenizer: Any, cached: CachedModel, marks: ChatMarks
) -> Left:
    """Settings and texts of a model that have no effect on its replies here."""
    left, generation = Left(), cached.network.generation_config.to_diff_dict()
    of_drawing = () if generation.get("do_sample") else _OF_DRAWING
    left.add("generation", taken.left("generation", generation, ("eos_token_id", *of_drawing)))
    said = {key: value for key, value in settings.items() if value is not False}
    left.add("images", taken.left("images", said, _read_by(type(cached.processor))))
    if (written := _templated(tokenizer)) is not None and marks.opening("assistant") not in written:
        left.add("file", ["chat_template.jinja"])
    return left


def thought_opening(tokenizer: Any, marks: ChatMarks = CHATML) -> list[int]:
    """Ids that a thinking model's chat template puts behind the header of a reply, such as those of `<think>`.

    A template that fails opens nothing.
    """
    found = re.search(re.escape(marks.opening("assistant")) + _OPENED, _templated(tokenizer) or "")
    return tokenizer.encode(found[1], add_special_tokens=False) if found else []


def _read_by(processor: type) -> set[str]:
    """The settings that an image processor reads; some others would end it."""
    return {"rescale_factor", *vars(processor), *sizing.KEYS}


def _templated(tokenizer: Any) -> str | None:
    """A question as the chat template writes it, which transformers renders in a sandbox; None: it does not."""
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": "x"}], tokenize=False, add_generation_prompt=True
        )
    except Exception:  # no template, or one that raises whatever it likes
        return None
    return str(text)


def _load(
    folder: Path, settings: dict[str, object], number: Any, where: "torch.device", adapter: Path | None
) -> tuple[Any, Any, Any]:
    import transformers

    try:
        # The automatic class would rebuild tokenizer.json by its family's rules; a model may have rules of its own.
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        kind = _image_processor(str(settings.get("image_processor_type")))
        processor = kind.from_dict({name: value for name, value in settings.items() if name in _read_by(kind)})
        network = read_network(folder, number).to(where)
        if adapter:
            lora.merge(network, adapter)
        _check_tokens(folder, tokenizer, network.config)
        return tokenizer, processor, network
    except ConfigError:
        raise
    except Exception as error:  # damage of every kind ends here, each kind with its own exception
        refused = devices.memory_refused(error)
        if refused is not None:
            raise SetupError(f"{folder.name} does not fit on {where.type}{refused}", hint="«--device cpu»") from error
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise ConfigError(f"{folder} cannot be loaded: {reason}") from error


def _quiet_torch() -> Any:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import torch
        import transformers

        _image_processor("")
    except ImportError as error:
        message = f"a model in this process needs torch and transformers 5.16 or newer: {error}"
        raise SetupError(message, hint=f"{install('local')}, or «--endpoint URL» of a server") from None
    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return torch


def _image_processor(named: str) -> Any:
    """The class of a name in settings, Qwen-VL's for any other, that needs no torchvision; the automatic one does."""
    from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name as class_of

    known = families.image_processor(named)
    name = named.removesuffix("Fast").removesuffix("Pil").replace(known.named, known.like or known.named)
    return class_of(f"{name}Pil") or class_of("Qwen2VLImageProcessorPil")


def read_network(folder: Path, number: Any) -> Any:
    """The network of a model folder, in that dtype; `auto`: in that of its config."""
    import transformers

    automatic: Any = transformers.AutoModelForImageTextToText
    safe = {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True}
    network, report = automatic.from_pretrained(folder, dtype=number, output_loading_info=True, **safe)
    missing = sorted(report["missing_keys"])
    if missing:
        raise ConfigError(f"{folder} is incomplete: {len(missing)} weights are missing, {missing[0]} first")
    return network.eval()


def _check_tokens(folder: Path, tokenizer: Any, config: Any) -> None:
    """Refuse a tokenizer without the marks of its family, or one that would take one out of a user's text."""
    known, marks = tokenizer.get_vocab(), families.of(config.model_type).marks
    for name in marks.controls:
        written = tokenizer.encode(name, add_special_tokens=False, split_special_tokens=True)
        if name not in known or known[name] in written:
            raise ConfigError(f"{folder} is no model of its family: its tokenizer has no special token {name}")
    last, most = max(known, key=known.__getitem__), config.get_text_config().vocab_size
    if known[last] >= most:
        sentence = f"{folder} contradicts itself: its tokenizer has {plain(last, 60)}, number {known[last]}"
        raise ConfigError(f"{sentence}, and its network weights of {most} tokens")
    if known[marks.image[1]] != config.image_token_id:
        raise ConfigError(f"{folder} contradicts itself: tokenizer and config name different image tokens")


def never_said(tokenizer: Any, config: Any) -> "torch.Tensor":
    """Ids that a reply never holds: image and header tokens, and numbers past the tokenizer's last."""
    import torch

    known, marks = tokenizer.get_vocab(), families.of(config.model_type).marks
    named = [known[name] for name in (*marks.controls, *_VIDEO) if name in known and name != marks.stop]
    return torch.tensor([*named, *range(max(known.values()) + 1, config.get_text_config().vocab_size)])
