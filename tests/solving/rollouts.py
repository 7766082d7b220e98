"""What the tests of sampling share: a server whose replies depend on the problem and on the rollout alone."""

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batches import asked
from support.called import Done, virc
from support.servers import Body, turn_of
from support.solving import CROP, answer, call, think

RIGHT = [answer("97")]
LOOKED = [CROP, answer("97°", "I looked.")]
SHOWN_AGAIN = [call("display_image", image_index=0), answer("97", "Once more.")]
WRONG = [answer("98")]
REFUSED = [answer("unreadable")]
NO_TAGS = ["It is 97."]
BAD_JSON = [think("I look.", "<tool_call>\n{\n</tool_call>")]
OUTSIDE = [call("crop_image", bbox_2d=[0, 0, 5600, 56], image_index=0), answer("97")]
MARKED = [answer("97", "The mark <image> is not an image.")]
LATE = [CROP, "97"]


class Rollouts:
    """Turns for `serve`: the k-th rollout of a problem, known by the seed of its first turn, goes as the k-th script
    says; those of a problem come one after the other.
    """

    def __init__(self, scripts: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._scripts = scripts
        self._seeds: dict[str, list[int]] = {}
        self._number: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, body: Body) -> str:
        question, turn = asked(body), turn_of(body)
        with self._lock:
            if turn == 0:
                self._number[question] = self._of_seed(question, body["seed"])
            number = self._number[question]
        return self._scripts[question][number][turn]

    def _of_seed(self, question: str, seed: int) -> int:
        seeds = self._seeds.setdefault(question, [])
        if seed not in seeds:
            seeds.append(seed)
        return seeds.index(seed)


def sample(source: Path, to: Path, url: str, *words: object) -> Done:
    """Sample as a trained model is: read strictly, in this project's own words."""
    asked = ("data", "sample", source, "--to", to, "--endpoint", url, "--protocol", "default")
    return virc(*asked, *words)


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def progress(file: Path) -> dict[object, dict[str, Any]]:
    """The lines of a progress file by their problem."""
    return {line["id"]: line for line in map(json.loads, file.read_bytes().splitlines())}
