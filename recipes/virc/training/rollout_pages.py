"""Rollouts of a step of RL as traces to look at, as `virc solve --trace` writes them.

The engine's process leaves a few in `rollouts/step_N.json`; the process that follows the run makes pages of them:
`rollouts/step_N/GROUP-REPLY/index.html`.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from virc.core.errors import VircError
from virc.core.files import contents, is_file
from virc.core.text import clause
from virc.data import show
from virc.data.check.result import Rules
from virc.data.rows.record import Message, Picture, Record, content_of
from virc.reasoning.calls import ToolError
from virc.reasoning.history import History
from virc.reasoning.images import Shown
from virc.reasoning.media import FILES, PLACES, give_media
from virc.reasoning.opening.pictures import open_image
from virc.reasoning.resample import resampled
from virc.reasoning.resize import QWEN2, Grid
from virc.reasoning.trace import Trace
from virc.rewards.sources import REWARD
from virc.rewards.user_code import CODE
from virc.rewards.verl import grid_of, read_settings
from virc.runs.rollout_stats import Left, Rollout
from virc.solving.traces.files import write_trace
from virc.tools import registry as tools

_MAX_BYTES = 64 * 2**20


def render(folder: Path, model: str) -> list[str]:
    """Make traces of what an engine's process has left in `rollouts/`, and remove that; returns why some could not."""
    faults = []
    for file in sorted(folder.glob("step_*.json")):
        try:
            left = msgspec.json.decode(contents(file, _MAX_BYTES), type=Left)
        except (OSError, ValueError) as error:
            faults.append(f"{file.name}: {clause(error)}")
        else:
            faults += _pages(folder / file.stem, left, model)
        file.unlink()
    return faults


def _pages(folder: Path, left: Left, model: str) -> Iterator[str]:
    groups = list(dict.fromkeys(each.group for each in left.rollouts))
    for number, group in enumerate(groups, 1):
        for reply, each in enumerate((one for one in left.rollouts if one.group == group), 1):
            page = folder / f"{number}-{reply}"
            try:
                trace, images = replayed(each, folder.parents[1])
                meta = {"model": f"{model}, step {left.step}", "reward": each.reward, "terms": each.terms}
                write_trace(page, trace, images, meta)
            except (OSError, ValueError, LookupError, ToolError, VircError) as error:
                yield f"{folder.name}/{page.name}: {clause(error)}"


def replayed(rollout: Rollout, run: Path) -> tuple[Trace, list[Shown]]:
    """As `shown`, with the tools and the grid of a run, whose folder is given."""
    tools.load(rollout.trace.protocol.tools, run / CODE, of_chat_protocol=True)
    settings = run / REWARD
    return shown(rollout, grid_of(read_settings(str(settings))) if is_file(settings) else QWEN2)


def shown(rollout: Rollout, grid: Grid = QWEN2) -> tuple[Trace, list[Shown]]:
    """A rollout's trace with its images; those that tools made are made again, on the trained model's `grid`.

    Raises:
        DataError, OSError, ToolError: an image cannot be read, is not there, or a tool is not known here.
    """
    if not rollout.trace.units and not rollout.trace.pending:
        return _one_unit(rollout)
    trace = rollout.trace
    inputs = next((message.images for message in trace.messages if message.role == "user"), ())
    given = [open_image(_picture(rollout.images[index]).read(), rollout.images[index]) for index in inputs]
    # As they were shown; what is cut out comes from their files.
    asked = [
        Shown(resampled(each, (record.width, record.height)), original=each.size, full=each)
        for each, record in zip(given, trace.images, strict=False)
    ]
    give_media(asked, {PLACES: [record.place for record in trace.images[: len(asked)]], FILES: rollout.media})
    history = History(asked, trace.protocol, grid, tools.known())
    for result in (result for unit in trace.units for result in unit.results if result.call and result.images):
        assert result.call
        for index, made in zip(result.images, history.planned(result.call)[1], strict=True):
            record = trace.images[index]
            pixels = resampled(made.made, (record.width, record.height))
            history.add(made.shown or Shown(pixels, record.parent, record.box), made.place)
    return trace, history.images


def _one_unit(rollout: Rollout) -> tuple[Trace, list[Shown]]:
    """A conversation of a row and the one unit after it; its replies are parsed as `virc data show` does."""
    trace = rollout.trace
    messages = tuple(Message(each.role, content_of(each)) for each in trace.messages)
    record = Record(messages, tuple(map(_picture, rollout.images)), question=trace.question)
    rules = Rules(trace.protocol, trace.protocol.coordinates, holds="prompts")
    seen = show.images_to_show(record, rules)
    read = show.trace_of(record, seen, rules)
    images = [msgspec.structs.replace(each, file=f"image-{index}.png") for index, each in enumerate(read.images)]
    return msgspec.structs.replace(read, images=images), [each.shown for each in seen]


def _picture(name: str) -> Picture:
    return Picture(name, confined=False)
