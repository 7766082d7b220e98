"""Rows of systems whose tools stand behind servers, in their published layouts, and a server in the published form."""

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image
from support.loopback import Connection, Loopback
from support.published_crops import _chain, _middle
from support.row_files import NUMBERS, PLACES, SIDE, SIZE, array, embedded, parquet, question, saved

from virc.models.chat_protocol import of_system
from virc.reasoning.protocol import FILE_NAME
from virc.systems import registry as systems


class Tools(Loopback):
    """A controller of tools that is also the server of each; `asked` are the bodies that it was sent."""

    def __init__(self, replies: Mapping[str, Any]) -> None:
        super().__init__(_Exchange)
        self.replies, self.asked = replies, list[dict[str, Any]]()


class _Exchange(Connection):
    server: Tools

    def post(self) -> None:
        body = json.loads(self.sent())
        self.server.asked.append(body)
        if self.path == "/get_worker_address":
            known = body["model"] in self.server.replies
            self.send_json({"address": f"{self.server.address}/{body['model']}/" if known else ""})
            return
        reply = self.server.replies[self.path.removesuffix("/worker_generate").removeprefix("/")]
        status, content = reply if isinstance(reply, tuple) else (200, reply)
        self.send_body(content if isinstance(content, bytes) else json.dumps(content).encode(), status)


@contextmanager
def tool_servers(replies: Mapping[str, Any]) -> Iterator[Tools]:
    """Servers of tools that reply so: NAME -> the JSON, bytes that are none, or an HTTP status with either."""
    server = Tools(replies)
    with server.running():
        yield server


def encoded(image: Image.Image) -> str:
    """An image as the servers send it."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _act(name: str, **arguments: str) -> str:
    return json.dumps({"thought": "Look.", "actions": [{"name": name, "arguments": arguments}]})


def _percent(at: int) -> str:
    """The middle of a square as the server of points writes it."""
    return "x={:.0f} y={:.0f}".format(*(100 * place / side for place, side in zip(_middle(at), SIZE, strict=True)))


POINT = {"Point": {"text": ' <point x="21.5" y="28.5" alt="a square">a square</point>', "error_code": 0}}
OPENTHINKIMG: Sequence[Sequence[Sequence[str]]] = tuple(
    (
        (_act("Point", image="img_1", param="the square"), _act("Terminate", ans=number)),
        (_act("DrawVerticalLineByX", image="img_1", param=_percent(at)), _act("Terminate", ans=number)),
        (_act("Terminate", ans=other),),
    )
    for at, (number, other) in enumerate(zip(NUMBERS, (*NUMBERS[1:], NUMBERS[0]), strict=True))
)
"""Of each picture the replies of three rollouts, of which the first asks a server."""


def openthinkimg_sft(folder: Path, pictures: int = 3) -> Path:
    """Conversations of OpenThinkIMG with the system message that its program adds: a JSON array."""
    # zhaochen0110/OpenThinkIMG@45d295f, r1_v/open_r1/sft.py, convert_example
    rows, spoken = [], of_system(systems.get("openthinkimg"))
    tags = {"user": "human", "assistant": "gpt"}
    for at, chains in enumerate(OPENTHINKIMG[:pictures]):
        for number, replies in enumerate(chains):
            row = _chain(folder, f"{at}_{number}", spoken, at, replies)
            told = [{"from": tags[m["role"]], "value": m["content"]} for m in row["messages"] if m["role"] in tags]
            rows.append({"system": spoken.system, "conversations": told, "images": row["images"]})
    return array(folder / "openthinkimg_sft.json", rows)


def openthinkimg_rl(folder: Path, pictures: int = 3) -> Path:
    """Problems as OpenThinkIMG's program of RL reads them: a JSON array."""
    # zhaochen0110/OpenThinkIMG@45d295f, r1_v/open_r1/tool_grpo.py, load_image_from_path and make_conversation_image
    rows = [
        {"question": question(at), "label": number, "image_path": saved(folder, f"images/{at}.png", at)}
        for at, number in enumerate(NUMBERS[:pictures])
    ]
    return array(folder / "openthinkimg_rl.json", rows)


def _marked(at: int) -> str:
    """A reply of ViTAR that marks the square with the number."""
    left, top = PLACES[at]
    boxes = [[left, top, left + SIDE, top + SIDE]]
    return json.dumps({"thought": "Look.", "actions": [{"name": "mark_bbox", "arguments": {"box": boxes}}]})


VITAR: Sequence[Sequence[Sequence[str]]] = tuple(
    (
        (_marked(at), _act("Terminate", answer=number)),
        (_marked(at), _act("Terminate", answer=other)),
        (_act("Terminate", answer=number),),
    )
    for at, (number, other) in enumerate(zip(NUMBERS, (*NUMBERS[1:], NUMBERS[0]), strict=True))
)
"""Of each picture the replies of three rollouts of ViTAR, of which two mark a box."""


def vitar_sft(folder: Path, pictures: int = 3) -> Path:
    """Conversations of ViTAR in rows of virc, as its authors published none."""
    return _trajectories(folder, "vitar", VITAR[:pictures])


def visreason(folder: Path) -> Path:
    """Conversations of VisReason in rows of virc, as those of its authors could not be read."""
    look = "The square is small. <bbox>[0.1, 0.1, 0.9, 0.7]</bbox>."
    return _trajectories(folder, "visreason", [[(look, f"It is read. <Answer>{each}</Answer>")] for each in NUMBERS])


def _trajectories(folder: Path, system: str, chains: Sequence[Sequence[Sequence[str]]]) -> Path:
    """Conversations in a system's own words, beside its chat protocol."""
    spoken = of_system(systems.get(system))
    rows = [
        {"id": f"{at}-{number}", **_chain(folder, f"{at}_{number}", spoken, at, replies)}
        for at, of_one in enumerate(chains)
        for number, replies in enumerate(of_one)
    ]
    (folder / FILE_NAME).write_bytes(msgspec.json.encode(spoken))
    return array(folder / "trajectories.json", rows)


def vitar_rl(folder: Path, pictures: int = 3) -> Path:
    """ViTAR-16K: parquet with boxes, which nothing reads."""
    # JLINEkai/ViToS@69fbb33, README.md, Data preparation: the columns
    rows = [
        {"image": embedded(at), "question": f"<image>{question(at)}", "answer": number, "bbox": [[0.1, 0.1, 0.5, 0.5]]}
        for at, number in enumerate(NUMBERS[:pictures])
    ]
    return parquet(folder / "train-00000-of-00001.parquet", rows)
