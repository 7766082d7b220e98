"""All that is said of a stage's rows before an engine starts, found by one process in the engine's interpreter.

`python -m virc.training.preflight REQUEST` takes a `Request` as JSON, or the name of a file that holds it. It prints
one JSON object on stdout and how far it is on stderr. A user's mistake is in that object too, with exit code 0.
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from virc.core.errors import EngineError, VircError
from virc.core.files import contents
from virc.core.plan import Step
from virc.data.formats.registry import Source
from virc.reasoning.protocol import Protocol
from virc.rewards.sources import Speaker
from virc.systems.registry import Reward

_EVERY = 5.0  # seconds between two lines on stderr
_MOST_BYTES = 16 * 2**20


class Request(msgspec.Struct, frozen=True, kw_only=True, tag="solutions"):
    """What to look at in the rows of supervised training. Every path is absolute.

    Args:
        source: the rows.
        base: folder of the weights, with config.json, tokenizer.json and the image processor's file.
        name: of the base, for people.
        cutoff: longest row in tokens, images included.
        min_pixels, max_pixels: LLaMA-Factory's limits of an image.
        overlong: what to do about longer rows: refuse them, or leave them out.
        probe: train on this many of the longest rows only; 0: on all.
        folder: new folder for the rows to train on, where those are not all rows of `source`.
        protocol: file of the rows' chat protocol; None: the one beside the rows, else the one they show.
        chat_protocol: of the stage's system, where that has one: that of rows with its system message, unless another
        lies
            beside them.
        mixed_coordinates: take boxes that the base was not trained to write.
        loads: files of tools of the user's own that the rows' chat protocol may name.
        workers: processes that count.
    """

    source: Source
    base: Path
    name: str
    cutoff: int
    min_pixels: int
    max_pixels: int
    overlong: Literal["error", "drop"] = "error"
    probe: int = 0
    folder: Path | None = None
    protocol: Path | None = None
    chat_protocol: Protocol | None = None
    mixed_coordinates: bool = False
    loads: tuple[str, ...] = ()
    workers: int = 1


class Prompts(msgspec.Struct, frozen=True, kw_only=True, tag="prompts"):
    """What to look at in the rows of a stage of RL. Every path is absolute.

    Args:
        source: the rows to learn from.
        validation: rows that are only rolled out and scored.
        base, name, overlong, probe, protocol, workers: as in `Request`.
        rollout: what a row is: one unit, or a whole problem.
        prompt_length: longest prompt in tokens, images included.
        batch: prompts of a step; fewer rows would make none.
        max_pixels: lowers the base's own limit of an image.
        folder: new folder for the rows that verl reads; `home` is where it will lie.
        chat_protocol: of the base, for rows that are problems.
        tools: names or files of tools to offer beside those of the chat protocol; `loads` as in `Request`.
        reward: what replies are rewarded for; `beside` is the folder where its own files lie.
        sources: what holds in place of `chat_protocol`, `reward` and `beside` for rows of other systems, by their
            names.
    """

    source: Source
    validation: Source | None = None
    base: Path
    name: str
    rollout: Literal["per_cru", "multi_turn"]
    prompt_length: int
    batch: int
    max_pixels: int
    overlong: Literal["error", "drop"] = "drop"
    probe: int = 0
    folder: Path
    home: Path
    protocol: Path | None = None
    chat_protocol: Protocol
    tools: tuple[str, ...] = ()
    loads: tuple[str, ...] = ()
    reward: Reward
    beside: Path | None = None
    sources: Mapping[str, Speaker] = {}
    workers: int = 1


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. Lengths are tokens, images included.

    Args:
        rows: that LLaMA-Factory trains on: its own `Num examples`.
        dropped: rows left out because they are longer than the cutoff.
        longest, mean, total: of the rows it trains on.
        percentiles: 50, 90 and 99, of the same rows.
        longest_rows: numbers, in the file of the request, of the longest rows within the cutoff, the longest first.
        images: shown in the rows it trains on.
        shrunk: of them those over `max_pixels` or the base's own limit; boxes in pixels no longer fit them.
        turned: images of all rows that LLaMA-Factory would show turned: it does not heed EXIF, as `virc solve` does.
        looked_at: rows whose images were decoded and whose turns were parsed.
        faults: of those, rows with a fault of each kind that does not keep LLaMA-Factory from training on them.
        otherwise: rows with another system message than the chat protocol's.
        protocol: the rows' chat protocol.
        file, dataset, entry: file of rows to train on, a name for it, and what `dataset_info.json` is to say of it.
        media: folder that names of images start from; of RL: that holds them all.
        validation, validation_rows: file of rows that are only tried, and how many.
        off_grid: of RL, inputs looked at closely that are not shown at the size of their file.
        by_rules: of RL: rows whose reward can be had, whatever is replied and whatever a judge says.
        lacking: term -> rows that lack something for it; `lacks` says what, as a clause.
    """

    rows: int
    dropped: int
    longest: int
    mean: float
    total: int
    percentiles: tuple[int, int, int]
    longest_rows: tuple[int, ...]
    images: int
    shrunk: int
    turned: int
    looked_at: int
    faults: dict[str, int]
    otherwise: int
    protocol: Protocol
    file: Path
    dataset: str
    entry: dict[str, Any]
    media: Path
    validation: Path | None = None
    validation_rows: int = 0
    off_grid: int = 0
    by_rules: int = 0
    lacking: dict[str, int] = {}
    lacks: str = ""


class Mistake(msgspec.Struct, frozen=True):
    """A `VircError` as JSON."""

    kind: str
    message: str
    hint: str | None = None


class _Said(msgspec.Struct, frozen=True, omit_defaults=True):
    result: Result | None = None
    error: Mistake | None = None


def step(request: Request | Prompts, python: Path, recipes: Path) -> Step:
    """The process that looks.

    Args:
        python: the engine's interpreter.
        recipes: folder with the code of this package.
    """
    env = {
        "PYTHONPATH": str(recipes),
        "PYTHONDONTWRITEBYTECODE": "",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",  # there are several processes already
    }
    return Step(
        (str(python), "-m", "virc.training.preflight", _encoded(request).decode()),
        "look through the rows",
        env,
    )


def read(stdout: str) -> Result:
    """What such a process printed.

    Raises:
        VircError: of the class that the mistake it found has.
        EngineError: it printed something else.
    """
    try:
        said = msgspec.json.decode(stdout, type=_Said, dec_hook=_path)
    except msgspec.MsgspecError as error:
        raise EngineError("the look through the rows ended without a word that makes sense") from error
    if said.result:
        return said.result
    if said.error is None:
        raise EngineError("the look through the rows found nothing, not even a mistake")
    classes: Mapping[str, type[VircError]] = {each.kind: each for each in VircError.__subclasses__()}
    raise classes.get(said.error.kind, VircError)(said.error.message, said.error.hint)


def main(words: list[str]) -> int:
    """The program: prints what it found, or the mistake."""
    from virc.tools import registry as tools
    from virc.training import prompt_rows, training_rows

    try:
        request = _request(words[0])
        tools.load(request.loads)
        if isinstance(request, Prompts):
            said = _Said(prompt_rows.looked_through(request, _progress()))
        else:
            said = _Said(training_rows.looked_through(request, _progress()))
    except VircError as error:
        said = _Said(error=Mistake(error.kind, error.message, error.hint))
    print(_encoded(said).decode())
    return 0


def _request(word: str) -> Request | Prompts:
    try:
        text = word.encode() if word.startswith("{") else contents(Path(word), _MOST_BYTES)
        return msgspec.json.decode(text, type=Request | Prompts, dec_hook=_path)  # type: ignore[arg-type]
    except (OSError, msgspec.MsgspecError) as error:
        raise VircError(f"that is no request: {error}") from error


def _progress() -> Callable[[str], None]:
    last = time.monotonic()

    def show(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    return show


def _encoded(value: Request | Prompts | _Said) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)


def _path(kind: type, value: Any) -> Any:
    return kind(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
