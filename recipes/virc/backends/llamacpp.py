"""A GGUF model in this process, by llama.cpp (the package `xllamacpp`); torch is not needed."""

import atexit
import ctypes
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from PIL.Image import Resampling

from virc.backends.chat.errors import WireError
from virc.backends.chat.images import Part
from virc.backends.chat.reply import ReplyBuilder
from virc.backends.chat.request import completion
from virc.backends.control_tokens import as_text
from virc.backends.gguf.model import GGUF
from virc.backends.interface import CHARACTERS_PER_TOKEN, Calibrate, OnText, Sampling, TooLongError
from virc.backends.sampling import Stopping
from virc.config.taken import Left
from virc.core import entry_points, interpreter
from virc.core.errors import ConfigError, EngineError, SetupError
from virc.core.extras import install
from virc.core.text import clause, plain
from virc.core.timeouts import LateError, within
from virc.core.work import forks
from virc.core.work.parallel import cores
from virc.reasoning.images import Shown
from virc.reasoning.resize import QWEN2, Grid, Tiles
from virc.reasoning.session import Ask, Message, Reply

_AT_ONCE = 4
"""Conversations that a small model is kept memory for; a larger one draws one reply at a time."""
_LONGEST = 32_768
"""Tokens of a conversation that memory is taken for, if the model was trained for more."""
_SMALL = 100 * 2**20  # bytes: a second thread costs such a model more than it gains
_FOR_EVER = 1e8  # seconds
_TOO_LONG = "exceed_context_size_error"
_LAST_SECONDS = 2.0  # that a reply nobody waits for may take when Python ends
_loading = forks.Lock()
_ending = threading.Event()
_drawing_now: set[threading.Thread] = set()


class LlamaCppBackend:
    """Draws replies from a GGUF model in this process; made by `load`.

    Threads may ask at once; what is not drawn together waits. Conversations that begin alike share what llama.cpp keeps
    of them.

    Attributes:
        at_once: replies that are drawn at a time: several of a small model.
        resample: how the image processor of a family resizes an image.
        device: `llama.cpp`: it chooses a GPU by itself if it was built for one.
        warnings: what the user should know, one line each.
        context: longest conversation in tokens, the reply included.
        left: what is not read of its files: nothing.
        calibrate: finds out how boxes are counted, if that is not known; None: it is.
    """

    calibrate: Calibrate | None = None

    def __init__(self, model: str, server: Any, grid: Grid, context: int, at_once: int = 1) -> None:
        self.model, self.grid, self.context, self.at_once = model, grid, context, at_once
        is_square = isinstance(grid, Tiles) and grid.most == 1  # of Gemma 3
        self.resample = Resampling.BILINEAR if is_square else Resampling.BICUBIC
        self.device = "llama.cpp"
        self.warnings: tuple[str, ...] = ()
        self.left = Left()
        self._server, self._home = server, forks.HomeProcess()

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Reply:
        """Draw one assistant turn; raises TooLongError, or EngineError if the model failed or the time is over."""
        if self._server is None:
            raise EngineError(f"the model {self.model} is closed")
        self._home.check(self.model)
        text = Stopping(ask.stop, on_text)
        builder = ReplyBuilder(sampling.max_tokens * CHARACTERS_PER_TOKEN, text.add, may_repeat=False)

        def add(chunk: Any) -> None:
            error = chunk.get("error") if isinstance(chunk, dict) else None
            if isinstance(error, dict) and error.get("type") == _TOO_LONG:
                raise TooLongError(error.get("n_prompt_tokens", "too many"), self.context)
            builder.add(chunk)
            if text.stopped:
                builder.add_finish("stop")
                raise _StoppedError

        # In a thread of its own: nothing interrupts one that waits for llama.cpp, neither Ctrl-C nor an alarm.
        end = time.monotonic() + (_FOR_EVER if seconds is None else seconds)
        try:
            with suppress(_StoppedError):
                within(end, _drawing(self._server, self._request(ask, sampling)), add)
            return builder.reply()
        except LateError:
            raise EngineError(f"{self.model} gave no whole answer in {seconds:g} s", "a longer «--timeout»") from None
        except WireError as error:
            sentence = f"llama.cpp {error} while it drew a reply of {self.model}: {plain(error.quoted)}"
            raise EngineError(sentence) from None

    def estimate(self, image_tokens: int) -> tuple[float, float]:
        """Return the seconds to read `image_tokens` on this machine, in proportion, and those a token drawn."""
        from PIL import Image

        self._home.check(self.model)
        for side in (2, 8):  # the first, small, only warms up
            picture = Shown(Image.new("RGB", (side * self.grid.factor,) * 2, "white"))
            ask = Ask((Message("user", "What is this?", (0,)),), (picture,))
            request = {**self._request(ask, Sampling(max_tokens=4)), "stream": False, "cache_prompt": False}
            request.pop("stream_options")
            answer = self._server.handle_chat_completions(request)
        timings = answer.get("timings") or {}
        read, drawn = timings.get("prompt_per_token_ms", 0), timings.get("predicted_per_token_ms", 0)
        return image_tokens * read / 1000, drawn / 1000

    def close(self) -> None:
        """Draw nothing more. The model stays in memory, for the next who loads it, until the process ends."""
        self._server = None

    def _request(self, ask: Ask, sampling: Sampling) -> dict[str, Any]:
        def part(shown: Shown) -> Part:
            size = self.grid.canvas(*shown.size) if isinstance(self.grid, Tiles) else shown.size
            if size != shown.size:  # llama.cpp would put margins around it
                shown = Shown(shown.pixels.resize(size, self.resample))
            return {"type": "image_url", "image_url": {"url": shown.url.decode()}}

        request = completion(as_text(ask, of_model=True), sampling, self.model, part)
        # llama.cpp's own defaults would leave most tokens out.
        request["max_tokens"] = min(sampling.max_tokens, self.context)
        request |= {"top_k": sampling.top_k or 0, "min_p": sampling.min_p or 0.0, "top_p": sampling.top_p}
        # top_p and min_p of the shares at that temperature
        request |= {"samplers": ["penalties", "temperature", "top_k", "top_p", "min_p"], "cache_prompt": True}
        if sampling.repetition_penalty not in (None, 1):
            request |= {"repeat_penalty": sampling.repetition_penalty, "repeat_last_n": self.context}
        return request


class _StoppedError(Exception):
    """A text came that ends a reply."""


def _drawing(server: Any, request: dict[str, Any]) -> Callable[[Callable[[Any], None]], None]:
    """The work of `within` that has llama.cpp draw a reply, and passes each chunk on by `say`."""

    def draw(say: Callable[[Any], None]) -> None:
        failures: list[Exception] = []

        def on_chunk(chunk: Any) -> bool:
            """Pass a chunk on; true ends the reply. llama.cpp would drop what is raised here, so it is kept."""
            try:
                say(chunk)
            except Exception as error:
                failures.append(error)
            return bool(failures) or _ending.is_set()

        _drawing_now.add(threading.current_thread())
        try:
            # after the line above: a thread that `_end` does not wait for sees here that `_ending` is set
            if _ending.is_set():
                raise EngineError("no reply is begun when Python ends")
            server.handle_chat_completions(request, on_chunk)
        except Exception as error:  # such as that of a JSON schema that it cannot make a grammar of
            raise WireError("failed", clause(error)) from None
        finally:
            _drawing_now.discard(threading.current_thread())
        if failures:
            raise failures[0]

    return draw


@atexit.register
def _end() -> None:
    _ending.set()
    interpreter.join_or_leave(tuple(_drawing_now), _LAST_SECONDS)


def load(
    model: GGUF,
    device: str | None = None,
    grid: Grid = QWEN2,
    max_pixels: int | None = None,
    context: int | None = None,
) -> LlamaCppBackend:
    """Load a GGUF model.

    Args:
        device: `cpu` keeps it off the GPU; None: as llama.cpp was built.
        max_pixels: largest area that an image is shown with, in pixels; None: that of the grid.
        context: longest conversation in tokens; None: the model's own, and at most 32,768.

    Raises:
        ConfigError: llama.cpp does not load the files, or `device` is none that it can be told.
    """
    if device not in (None, "cpu"):
        raise ConfigError(f"llama.cpp chooses the GPU itself, not {device}", "leave «--device» out, or «--device cpu»")
    longest = min(context or _LONGEST, model.context or _LONGEST)
    tokens = max(1, grid.max_pixels // grid.factor**2)
    files = tuple((str(each), each.stat().st_mtime_ns) for each in (model.file, model.vision))
    at_once = _AT_ONCE if model.file.stat().st_size < _SMALL else 1
    with _loading:
        server = _server(os.getpid(), files, device, tokens, longest, at_once)
    return LlamaCppBackend(model.name, server, grid.limited(max_pixels), longest, at_once)


@cache
def _server(
    _process: int,
    files: tuple[tuple[str, int], tuple[str, int]],
    device: str | None,
    tokens: int,
    longest: int,
    at_once: int,
) -> Any:
    """The server of llama.cpp for two files, each with the time of its last change; a forked child has one of its own.

    Args:
        tokens: most tokens of an image.
        longest: longest conversation, in tokens.
        at_once: conversations that each get memory for that.
    """
    try:
        if library := entry_points.hook("libraries.libgomp"):  # that it needs and may not find
            library.load()
        import xllamacpp  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ModuleNotFoundError as error:
        raise SetupError(f"a GGUF model needs xllamacpp: {error}", install("llamacpp")) from None
    except ImportError as error:  # it has no libgomp of its own, which small images lack
        hint = "install the library that it names: libgomp is `apt-get install libgomp1`, or `dnf install libgomp`"
        raise SetupError(f"xllamacpp cannot be loaded: {clause(error)}", hint) from None
    (file, _), (vision, _) = files
    params = xllamacpp.CommonParams()
    params.model.path, params.mmproj.path = file, vision
    params.n_ctx, params.n_parallel, params.kv_unified = longest * at_once, at_once, False
    params.image_min_tokens, params.image_max_tokens = 1, tokens
    params.warmup, params.verbosity, params.cache_ram_mib = False, 0, 0
    # It listens on the loopback address, and answers nobody there.
    params.port, params.api_keys = 0, [secrets.token_urlsafe(32)]
    params.endpoint_slots = params.ui = False
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.poll = 0  # threads that wait sleep
        cpu.n_threads = 1 if at_once > 1 else cores()
    if device == "cpu":
        params.n_gpu_layers, params.mmproj_use_gpu = 0, False
    # Its destructor joins a thread that does not always end (seen with xllamacpp 2026.10), and holds the interpreter's
    # lock meanwhile: so it is never destroyed, not even when Python ends, nor by a signal before it has its name.
    with interpreter.interrupts_deferred():
        try:
            server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise ConfigError(
                f"llama.cpp does not load {file} with {Path(vision).name}: {error}",
                "a newer xllamacpp may know the model: pip install -U xllamacpp",
            ) from None
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(server))
    return server
