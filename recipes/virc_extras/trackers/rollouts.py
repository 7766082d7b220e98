"""Rollouts of a step in the trackers of a run, each as one picture with its replies and its reward.

verl's own `ValidationGenerationsLogger` logs text alone. The picture has what the model saw side by side, with the
boxes of its tool calls: wandb gets them as boxes, for other trackers they are drawn.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image, ImageDraw

from virc.core.errors import VircError
from virc.core.text import clause
from virc.reasoning.calls import Box, ToolError
from virc.reasoning.images import Shown
from virc.reasoning.trace import Trace
from virc.runs.rollout_stats import Rollout
from virc.training.rollout_pages import replayed

MAX_ROLLOUTS = 8
"""The most of a step that are logged."""
_SIDE, _GAP = 448, 8  # pixels: the longer side of a picture at most, and the space between two
_COLUMNS = ("step", "question", "replies", "reward", "terms", "pictures")


class TrackedRollout(msgspec.Struct, frozen=True):
    """What a tracker gets of a rollout.

    Args:
        replies: of the model, turn by turn.
        reward: with its terms, as text.
        sheet: its pictures side by side.
        boxes: on the sheet in pixels, each with the name of the tool that was called with it.
    """

    question: str
    replies: str
    reward: float
    terms: str
    sheet: Image.Image
    boxes: Sequence[tuple[str, Box]]

    @property
    def text(self) -> str:
        return f"reward {self.reward:.4g} ({self.terms})\n\n{self.question}\n\n{self.replies}"

    @property
    def drawn(self) -> Image.Image:
        """The sheet with its boxes drawn."""
        image = self.sheet.copy()
        for _, box in self.boxes:
            ImageDraw.Draw(image).rectangle(box, outline="red", width=2)
        return image

    def row(self, step: int, picture: object) -> tuple[object, ...]:
        return (step, self.question, self.replies, self.reward, self.terms, picture)


def log(loggers: Mapping[str, Any], name: str, step: int, rollouts: Sequence[Rollout], run: Path) -> None:
    """Log the first rollouts of a step; what cannot be shown or logged is printed and does not end the run.

    Args:
        loggers: verl's, by the names of trackers.
        name: of the entry in the trackers, such as `val/rollouts`.
        run: the run's folder, which has the code of its own tools.
    """
    chosen = {tracker: function for tracker, function in TRACKERS.items() if tracker in loggers}
    tracked = [each for rollout in rollouts[:MAX_ROLLOUTS] if (each := _tracked(rollout, run))] if chosen else []
    for tracker, function in chosen.items():
        try:
            function(loggers[tracker], name, step, tracked)
        except Exception as error:  # a tracker's server may fail in any way
            print(f"virc: {tracker} does not take the rollouts of step {step}: {clause(error)}", flush=True)


def _tracked(rollout: Rollout, run: Path) -> TrackedRollout | None:
    try:
        trace, images = replayed(rollout, run)
    except (OSError, ValueError, LookupError, ToolError, VircError) as error:
        print(f"virc: a rollout cannot be shown in the trackers: {clause(error)}", flush=True)
        return None
    terms = ", ".join(f"{name} {value:.4g}" for name, value in rollout.terms.items())
    replies = "\n\n".join(trace.replies.texts)
    return TrackedRollout(trace.question, replies, rollout.reward, terms, *_sheet(trace, images))


def _sheet(trace: Trace, images: Sequence[Shown]) -> tuple[Image.Image, list[tuple[str, Box]]]:
    """The pictures side by side, the large ones made smaller, and the boxes of the calls on them."""
    calls = [call for unit in trace.units for call in unit.calls]
    small, boxes, left = [each.pixels.convert("RGB") for each in images], list[tuple[str, Box]](), 0
    lefts = []
    for index, (image, shown) in enumerate(zip(small, images, strict=True)):
        image.thumbnail((_SIDE, _SIDE))
        scale = image.width / shown.width
        for call in calls:
            if call.index == index and call.box:
                x, y, to_x, to_y = (round(side * scale) for side in call.box)
                boxes.append((call.name, (left + x, y, left + to_x, to_y)))
        lefts.append(left)
        left += image.width + _GAP
    sheet = Image.new("RGB", (max(1, left - _GAP), max((each.height for each in small), default=1)), "white")
    for image, at in zip(small, lefts, strict=True):
        sheet.paste(image, (at, 0))
    return sheet, boxes


def _to_wandb(wandb: Any, name: str, step: int, rollouts: Sequence[TrackedRollout]) -> None:
    pictures = []
    for each in rollouts:
        data = [
            {
                "position": dict(zip(("minX", "minY", "maxX", "maxY"), box, strict=True)),
                "domain": "pixel",
                "class_id": 0,
                "box_caption": tool,
            }
            for tool, box in each.boxes
        ]
        boxes = {"calls": {"box_data": data, "class_labels": {0: "call"}}} if data else None
        pictures.append(wandb.Image(each.sheet, caption=each.text, boxes=boxes))
    wandb.log({name: pictures}, step=step)


def _to_swanlab(swanlab: Any, name: str, step: int, rollouts: Sequence[TrackedRollout]) -> None:
    swanlab.log({name: [swanlab.Image(each.drawn, caption=each.text) for each in rollouts]}, step=step)


def _to_trackio(adapter: Any, name: str, step: int, rollouts: Sequence[TrackedRollout]) -> None:
    import pandas as pd  # type: ignore[import-untyped, import-not-found]
    import trackio  # type: ignore[import-not-found]

    rows = [each.row(step, trackio.Image(each.drawn)) for each in rollouts]
    trackio.log({name: trackio.Table(dataframe=pd.DataFrame(rows, columns=_COLUMNS))}, step=step)


def _to_mlflow(adapter: Any, name: str, step: int, rollouts: Sequence[TrackedRollout]) -> None:
    import mlflow  # type: ignore[import-not-found]

    rows = [each.row(step, mlflow.Image(each.drawn)) for each in rollouts]
    mlflow.log_table(dict(zip(_COLUMNS, map(list, zip(*rows, strict=True)), strict=True)), f"{name}.json")


def _to_tensorboard(adapter: Any, name: str, step: int, rollouts: Sequence[TrackedRollout]) -> None:
    import numpy as np

    for number, each in enumerate(rollouts, 1):
        adapter.writer.add_image(f"{name}/{number}", np.asarray(each.drawn), step, dataformats="HWC")
        adapter.writer.add_text(f"{name}/{number}", f"```\n{each.text}\n```", step)  # as Markdown, tags would be lost
    adapter.writer.flush()


TRACKERS: Mapping[str, Callable[[Any, str, int, Sequence[TrackedRollout]], None]] = {
    "mlflow": _to_mlflow,
    "swanlab": _to_swanlab,
    "tensorboard": _to_tensorboard,
    "trackio": _to_trackio,
    "wandb": _to_wandb,
}
"""Tracker -> what logs rollouts there, given verl's logger of it."""
