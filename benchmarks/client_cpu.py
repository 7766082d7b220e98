"""What a turn costs the client: `python benchmarks/client_cpu.py [ROUNDS]`.

A photo-like picture of 2 megapixels is looked at 1, 4 and 16 times. A server in another process, whose time does not
count, says where to look; it keeps images by their ids, or it does not, and then every turn sends all of them again.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from PIL import Image

from virc.backends.chat.backend import OpenAIBackend
from virc.reasoning.protocol import own_protocol
from virc.solving.one import SolveConfig, solve
from virc.tools import registry as tools

TESTS = Path(__file__).resolve().parents[1] / "tests"
SIDES = (1680, 1204)
TURNS = (1, 4, 16)
SERVER = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from support.servers import serve, turn_of
from support.solving import answer, call
kept, turns = {"ids": {}, "data": None}[sys.argv[2]], int(sys.argv[3])
def turn(body):
    at = turn_of(body)
    box = [28 * at, 28 * at, 28 * at + 840, 28 * at + 602]
    return answer("1") if at == turns - 1 else call("crop_image", f"I look at part {at}.", bbox_2d=box, image_index=0)
with serve(turn, kept=kept, usage=False) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


def photo() -> Image.Image:
    """Large soft shapes under the noise of a sensor, as PNG some 5 MB."""
    width, height = SIDES
    soft = Image.effect_noise((width // 40, height // 40), 90).resize(SIDES, Image.Resampling.BICUBIC)
    grain = [Image.effect_noise(SIDES, 12) for _ in range(3)]
    return Image.merge("RGB", [Image.blend(soft, layer, 0.3) for layer in grain])


@contextmanager
def server(kind: str, turns: int) -> Iterator[str]:
    """The server in its process: its address."""
    words = [sys.executable, "-c", SERVER, str(TESTS), kind, str(turns)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


def measured(kind: str, turns: int, image: Image.Image) -> float:
    """Seconds of processor time of a solution in so many turns, every image encoded once."""
    with server(kind, turns) as url:
        backend = OpenAIBackend(url)
        protocol = own_protocol(tools.schemas(["crop_image"]))
        began = time.process_time()
        solved = solve(SolveConfig(), backend, protocol, [image], "How many?")
        seconds = time.process_time() - began
        backend.close()
    (attempt,) = solved.attempts
    assert len(attempt.trace.units) == turns, solved.error
    assert [shown.encodings for shown in attempt.images] == [1] * turns
    return seconds


def main(rounds: int = 3) -> None:
    """Print the medians, and how far from linear they are."""
    image = photo()
    measured("ids", 1, image)  # imports
    for kind, name in (("ids", "images by their ids"), ("data", "all data each turn")):
        runs = {turns: median(measured(kind, turns, image) for _ in range(rounds)) for turns in TURNS}
        first, *_, last = runs
        print(f"{name}: ", end="")
        print(", ".join(f"{turns} turns {seconds:.2f} s" for turns, seconds in runs.items()), end="")
        early = (runs[TURNS[1]] - runs[first]) / (TURNS[1] - first)
        late = (runs[last] - runs[TURNS[1]]) / (last - TURNS[1])
        print(f"; a further turn costs {early * 1000:.0f} ms early, {late * 1000:.0f} ms late", flush=True)
    print("every image was encoded once")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
