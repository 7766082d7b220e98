"""What a conversation costs the client, beside a plain loop: `python benchmarks/client.py [ROUNDS]`.

The plain loop is ours, and does what the published script of ViRC does with the official client: the picture and every
crop lie in files of the picture's own format, a file goes out as it is, a crop opens its source anew, all messages are
sent each turn, and the reply comes whole. That script cuts with OpenCV; the loop cuts with Pillow and saves as OpenCV
does by default (PNG at level 1, JPEG at quality 95). `virc` streams its replies.

Both look 15 times at a part of a picture of 2 megapixels, and answer. Each runs in a process of its own, on one core,
and the scripted server in another. Counted are the processor time and the largest memory of the process, the processor
time without its start (imports), and the bytes of the last request. Figures are medians; runs alternate.
"""

import io
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

TESTS = Path(__file__).resolve().parents[1] / "tests"
ON_GRID, OFF_GRID = (1680, 1204), (1920, 1080)
TURNS = 16
SERVER = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from support.servers import serve, turn_of
from support.solving import answer, call
turns = int(sys.argv[2])
def turn(body):
    at = turn_of(body)
    box = [28 * at, 28 * at, 28 * at + 840, 28 * at + 602]
    return answer("1") if at == turns - 1 else call("crop_image", f"I look at part {at}.", bbox_2d=box, image_index=0)
with serve(turn, usage=False) as server:
    print(server.url, flush=True)
    sys.stdin.read()
    print(server.requests[-1].headers["content-length"])
"""
PLAIN = """
import base64, json, re, sys, time
from pathlib import Path
from openai import OpenAI
from PIL import Image
url, picture = sys.argv[1], Path(sys.argv[2])
started = time.process_time()

def grid(side):
    return max(28, round(side / 28) * 28)

def written(image, name, **options):
    made = picture.with_name(name + picture.suffix)
    image.resize(tuple(map(grid, image.size)), Image.Resampling.LANCZOS).save(made, **options)
    return made

def cut(source, box, turn):
    options = {"quality": 95} if picture.suffix == ".jpg" else {"compress_level": 1}
    with Image.open(source) as image:
        return written(image.crop(box), f"crop-{turn}", **options)

def part(path):
    kind = {".jpg": "jpeg", ".png": "png"}[path.suffix]
    data = base64.b64encode(path.read_bytes()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{data}"}}

client = OpenAI(base_url=url, api_key="none")
(model,) = client.models.list()
with Image.open(picture) as image:
    on_grid = image.size == tuple(map(grid, image.size))
    first = picture if on_grid else written(image, "first")
messages = [{"role": "system", "content": "You may call tools."}]
shown, text = first, "How many?"
for turn in range(16):
    messages.append({"role": "user", "content": [part(shown), {"type": "text", "text": text}]})
    completion = client.chat.completions.create(
        model=model.id, messages=messages, temperature=0, max_tokens=1024, top_p=1, extra_body={"top_k": 1}
    )
    reply = completion.choices[0].message.content
    messages.append({"role": "assistant", "content": reply})
    call = re.search(r"<tool_call>(.*?)</tool_call>", reply, re.DOTALL)
    if not call:
        break
    shown = cut(first, json.loads(call[1])["arguments"]["bbox_2d"], turn)
    with Image.open(shown) as image:
        text = f"Image {turn + 1}: {image.width} x {image.height}. Keep thinking."
assert turn == 15
print(time.process_time() - started)
"""
VIRC = """
import sys, time
from pathlib import Path
from virc.backends.chat.backend import OpenAIBackend
from virc.reasoning.protocol import own_protocol
from virc.reasoning.images import open_file
from virc.solving.image_source import source_of
from virc.solving.one import SolveConfig, solve
from virc.tools import registry as tools
url, picture = sys.argv[1:]
started = time.process_time()
backend = OpenAIBackend(url)
images = [open_file(*source_of(picture))]
solved = solve(SolveConfig(), backend, own_protocol(tools.schemas(tools.DEFAULT)), images, "How many?")
backend.close()
(attempt,) = solved.attempts
assert len(attempt.trace.units) == 16, solved.error
print(time.process_time() - started)
"""


class Cost(NamedTuple):
    """Of one run: processor time with and without the start in s, largest memory in MiB, last request in kB."""

    seconds: float
    without_start: float
    megabytes: float
    kilobytes: float


def screenshot(size: tuple[int, int]) -> Image.Image:
    """Lines of text and flat areas."""
    page = Image.new("RGB", size, "white")
    draw, font, rng = ImageDraw.Draw(page), ImageFont.load_default(16), random.Random(1)
    for top in range(8, size[1] - 20, 22):
        letters = (" " if rng.random() < 0.18 else chr(rng.randint(97, 122)) for _ in range(size[0] // 9))
        draw.text((10, top), "".join(letters), "black", font)
    draw.rectangle((size[0] // 2, size[1] // 4, size[0] - 90, size[1] * 2 // 3), "lavender", "navy", 3)
    return page


def photograph(size: tuple[int, int]) -> Image.Image:
    """Soft shapes of all sizes under the noise of a sensor."""
    layers = []
    for _ in range(3):
        layer = Image.effect_noise((size[0] // 120, size[1] // 120), 110).resize(size, Image.Resampling.BICUBIC)
        for coarse, share in ((30, 0.35), (8, 0.2), (3, 0.1), (1, 0.06)):
            grain = Image.effect_noise((size[0] // coarse, size[1] // coarse), 90)
            layer = Image.blend(layer, grain.resize(size, Image.Resampling.BICUBIC), share)
        layers.append(layer)
    return Image.merge("RGB", layers)


def files(count: int, size: tuple[int, int], quality: int) -> Iterator[bytes]:
    """One photograph in so many JPEG files, each with a comment of its own, so that nothing is known of it before."""
    file = io.BytesIO()
    photograph(size).save(file, "JPEG", quality=quality)
    for number in range(count):
        yield file.getvalue()[:2] + b"\xff\xfe\x00\x0a%08d" % number + file.getvalue()[2:]


def spent(process: "subprocess.Popen[Any]") -> tuple[float, float]:
    """Processor time in s and largest memory in MiB of a process when it has ended.

    `ru_maxrss` also counts the memory that this process had when it began that one.
    """
    most = 0
    while True:
        with suppress(OSError, IndexError):  # it has just ended
            most = int(Path(f"/proc/{process.pid}/status").read_text().partition("VmHWM:")[2].split()[0])
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            assert status == 0, process.args
            return usage.ru_utime + usage.ru_stime, most / 1024
        time.sleep(0.02)


@contextmanager
def server(program: str, *arguments: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A program that prints the address at which it serves until its input ends, and its process."""
    words = [sys.executable, "-c", program, str(TESTS), *arguments]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process


def run(program: str, picture: Path) -> Cost:
    """One conversation about a picture."""
    with server(SERVER, str(TURNS)) as (url, serving):
        words = [sys.executable, "-c", program, url, str(picture)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            cpu, memory = spent(process)
            process.returncode, seconds = 0, float(process.stdout.read())
        last = serving.communicate()[0]
    return Cost(cpu, seconds, memory, int(last) / 1000)


def main(rounds: int = 5) -> None:
    """Print the medians of both, and their ratios."""
    with tempfile.TemporaryDirectory() as folder:
        for size, place in ((ON_GRID, "shown as it is"), (OFF_GRID, "resized to the grid")):
            pictures = [Path(folder) / f"{size[0]}.png", Path(folder) / f"{size[0]}.jpg"]
            screenshot(size).save(pictures[0])
            photograph(size).save(pictures[1], quality=92)
            for picture in pictures:
                pairs = [(run(VIRC, picture), run(PLAIN, picture)) for _ in range(rounds)]
                ours, plain = (Cost(*map(median, zip(*each, strict=True))) for each in zip(*pairs, strict=True))
                kilobytes = picture.stat().st_size // 1000
                print(f"{picture.suffix[1:]}, {size[0]} x {size[1]} px, {kilobytes} kB, {place}:")
                units = ("s of processor time", "s of it without the start", "MiB at most", "kB in the last request")
                for unit, one, other in zip(units, ours, plain, strict=True):
                    print(f"  virc {one:8.2f}, plain loop {other:8.2f}, ratio {one / other:.2f}  {unit}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
