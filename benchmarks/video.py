"""CPU time and memory of reading 64 frames of a clip of an hour, and a page of a scan of 200.

The clip is drawn once (107,892 frames of 320 x 180 px, a key frame each 250) and kept. Each way to read it runs three
times in a process of its own, in turn: PyAV's own seeks (to the key frame before a time, then on to the first frame at
or after it), `Clip` of virc, and `parts`, what `virc solve --frames 64` runs: `Clip` in the worker, and JPEG files of
the frames; where `ffmpeg` is in PATH or imageio-ffmpeg is installed, also 64 calls of that program. Ends with 1 if
`Clip` takes over 1.2 of the time of PyAV, over 150 MB, or a page over 300 MB.

PYTHONPATH=.:recipes:tests python benchmarks/video.py [FOLDER]
"""

import io
import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

FRAMES, RATE, SIZE, KEY = 107_892, Fraction(30000, 1001), (320, 180), 250
SHOWN, PAGES, RUNS = 64, 200, 3
MAX_RATIO, MAX_CLIP_MB, MAX_PAGE_MB = 1.2, 150, 300
PROCESSES = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def draw_clip(file: Path) -> None:
    """An hour of bars that count the frames."""
    import av
    import numpy as np
    from extras.video.drawn_clips import BITS

    with av.open(str(file), "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"preset": "veryfast", "g": str(KEY), "keyint_min": str(KEY), "sc_threshold": "0", "bf": "2"}
        width, height = SIZE
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        for number in range(FRAMES):
            for bit in range(BITS):
                part = slice(bit * width // BITS, (bit + 1) * width // BITS)
                planes[: height // 2, part] = 235 * (number >> bit & 1)
                planes[height // 2 : height, part] = 235 * (not number >> bit & 1)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def draw_scan(file: Path) -> None:
    """A4 at 150 dpi, grey and grainy, as scanners write pages."""
    from PIL import Image

    noise = [Image.effect_noise((1240, 1754), 30 + page) for page in range(8)]
    pages = [noise[page % len(noise)] for page in range(PAGES)]
    pages[0].save(file, "PDF", save_all=True, append_images=pages[1:], resolution=150, quality=75)


def read(way: str, file: Path) -> None:
    """Read the frames in this process; prints seconds, MB, and which frames they were."""
    if way == "page":
        from virc_extras.video.decoding.pages import Document

        began = cpu_time()
        with file.open("rb") as opened:
            Document(opened, "scan").page(PAGES // 2, 2**26)
        numbers = []
    else:
        numbers, began = globals()[f"read_{way}"](file)
    seconds = cpu_time() - began
    memory = sum(resource.getrusage(who).ru_maxrss for who in PROCESSES)
    print(json.dumps({"seconds": seconds, "mb": memory * 1024 / 1e6, "frames": numbers}))


def cpu_time() -> float:
    """Seconds of this process and of children that have ended: what a busy machine does not change."""
    used = [resource.getrusage(who) for who in PROCESSES]
    return sum(each.ru_utime + each.ru_stime for each in used)


def read_pyav(file: Path) -> tuple[list[int], float]:
    import av
    from extras.video.drawn_clips import number_of

    began, numbers = cpu_time(), []
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        last = (FRAMES - 1) / RATE
        for each in range(SHOWN):
            wanted = last * each / (SHOWN - 1)
            container.seek(int(wanted / stream.time_base), stream=stream)
            frame = next(one for one in container.decode(stream) if one.pts * stream.time_base >= wanted)
            numbers.append(number_of(frame.to_image()))
    return numbers, began


def program() -> str | None:
    """The program ffmpeg."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError:
        return shutil.which("ffmpeg")
    return str(get_ffmpeg_exe())


WAYS = ("pyav", "clip", "parts", *(("ffmpeg",) if program() else ()))


def read_ffmpeg(file: Path) -> tuple[list[int], float]:
    from extras.video.drawn_clips import number_of
    from PIL import Image

    began, numbers, ffmpeg = cpu_time(), [], program()
    assert ffmpeg
    for each in range(SHOWN):
        at = str(float((FRAMES - 1) / RATE * each / (SHOWN - 1)))
        command = [ffmpeg, "-v", "error", "-threads", "1", "-ss", at, "-i", str(file), "-frames:v", "1"]
        done = subprocess.run([*command, "-f", "image2pipe", "-c:v", "png", "-"], capture_output=True, check=True)
        numbers.append(number_of(Image.open(io.BytesIO(done.stdout))) if done.stdout else numbers[-1])
    return numbers, began


def read_clip(file: Path) -> tuple[list[int], float]:
    from extras.video.drawn_clips import number_of

    from virc_extras.video.decoding.frames import Clip
    from virc_extras.video.sampling import sampled_times

    began = cpu_time()
    with file.open("rb") as opened:
        head = opened.read(1024)
        opened.seek(0)
        clip = Clip(opened, head, "clip")
        numbers = [number_of(clip.frame_at(each)[1]) for each in sampled_times(clip.last, SHOWN)]
    return numbers, began


def read_parts(file: Path) -> tuple[list[int], float]:
    from extras.video.drawn_clips import number_of
    from PIL import Image

    from virc.reasoning.media import MediaChoice
    from virc_extras.video import clip
    from virc_extras.video.worker import READER

    began = cpu_time()
    found = clip.parts(file, "clip", MediaChoice(frames=SHOWN), lambda: None).parts
    READER.turns.close()
    return [number_of(Image.open(io.BytesIO(each.data))) for each in found], began


def measured(way: str, file: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, "--read", way, str(file)], capture_output=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main(folder: Path) -> int:
    clip, scan = folder / "hour.mp4", folder / "scan.pdf"
    for file, draw in ((clip, draw_clip), (scan, draw_scan)):
        if not file.exists():
            draw(file)
    results = {way: [] for way in WAYS}
    for _ in range(RUNS):
        for way in WAYS:
            results[way].append(measured(way, clip))
    for way, runs in results.items():
        seconds = sorted(run["seconds"] for run in runs)
        print(f"{way}: {', '.join(f'{each:.2f}' for each in seconds)} s, {max(run['mb'] for run in runs):.0f} MB")
    page = measured("page", scan)
    print(f"a page of {PAGES} ({scan.stat().st_size / 1e6:.0f} MB): {page['seconds']:.2f} s, {page['mb']:.0f} MB")
    best = {way: min(run["seconds"] for run in runs) for way, runs in results.items()}
    numbers = [round(each * (FRAMES - 1) / (SHOWN - 1)) % 1024 for each in range(SHOWN)]
    off = [max(abs(a - b) for a, b in zip(runs[0]["frames"], numbers, strict=True)) for runs in results.values()]
    of_program = best["clip"] / best.get("ffmpeg", math.inf)
    print(f"clip / pyav: {best['clip'] / best['pyav']:.2f}; clip / ffmpeg: {of_program:.2f}")
    print(f"frames off at most by {dict(zip(WAYS, off, strict=True))}")
    mb = max(run["mb"] for run in results["clip"])
    return int(best["clip"] > MAX_RATIO * best["pyav"] or mb > MAX_CLIP_MB or page["mb"] > MAX_PAGE_MB)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        read(sys.argv[2], Path(sys.argv[3]))
    elif len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1])))
    else:
        with tempfile.TemporaryDirectory() as made:
            sys.exit(main(Path(made)))
