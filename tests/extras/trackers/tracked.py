"""Rollouts to log: two calls of a tool on a picture, and an answer."""

from pathlib import Path

from PIL import Image

from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.session import Reply, Session
from virc.runs.rollout_stats import Rollout
from virc.tools import registry as tools

CALL = (
    '<think>look</think><tool_call>{"name": "crop_image", "arguments": {"image_index": %d, "bbox_2d": %s}}</tool_call>'
)
REPLIES = (CALL % (0, [0, 0, 280, 420]), CALL % (1, [28, 28, 140, 140]), "<think>so</think><answer>7</answer>")
SHEET = (299 + 8 + 280 + 8 + 112, 448)
"""Size of its pictures side by side: 560 x 840, made smaller, 280 x 420 and 112 x 112."""
BOXES = [("crop_image", (0, 0, 150, 224)), ("crop_image", (335, 28, 447, 140))]


def make_rollout(folder: Path, picture: str = "figure.png", reward: float = 0.5) -> Rollout:
    path = folder / "figure.png"
    image = Image.linear_gradient("L").resize((560, 840)).convert("RGB")
    image.save(path)
    held = Session(read_protocol(EMBEDDED_FOLDER / FILE_NAME), "How many?", [image], tolerate=(), tools=tools.known())
    for reply in REPLIES:
        held.feed(Reply(reply))
    values = {"score": reward, "format": 1.0, "answer": 0.0}
    return Rollout(
        group="a", reward=reward, values=values, tokens=20, trace=held.trace(), images=[str(folder / picture)]
    )
