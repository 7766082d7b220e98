"""Rows made by rules each second, and the memory it takes: `python benchmarks/made_rows.py [ROWS [SECONDS]]`.

It filters ROWS rows of about 650 bytes (100,000), in the folder of NEW and into another one, to which a thousand
pictures are linked, and a tenth of the rows, in a process each. It ends with 1 where ROWS take over SECONDS (60), or
memory grows by over half from a tenth of the rows to all.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from client import spent
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PICTURES = 1000
SELECT = ("select", "--set", "column=pass_rate", "--set", "min=0.2", "--set", "max=0.8", "--quiet")


def write_rows(folder: Path, count: int) -> Path:
    """A file of that many rows."""
    file = folder / f"{count}.jsonl"
    with file.open("w") as lines:
        for at in range(count):
            row = {"id": f"r{at}", "image": f"pictures/{at % PICTURES}.png", "answer": str(at % 7)}
            more = {"question": f"How many shapes are in picture {at}? " * 4, "notes": {"boxes": [[at, 2, 3, 4]] * 9}}
            lines.write(json.dumps({**row, **more, "pass_rate": at % 9 / 8, "text": "x" * 200}) + "\n")
    return file


def measured(rows: Path, to: Path) -> tuple[float, float, float]:
    """Wall time and processor time, s, and peak memory, MiB, of one command."""
    command = [sys.executable, "-m", "virc_cli", "data", "make", SELECT[0], str(rows), "--to", str(to), *SELECT[1:]]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "recipes")))}
    began = time.perf_counter()
    cpu, memory = spent(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL))
    return time.perf_counter() - began, cpu, memory


def main(count: int, most: float) -> int:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "pictures").mkdir()
        for at in range(PICTURES):
            Image.new("RGB", (64, 48), (at % 256, at // 256, 0)).save(home / "pictures" / f"{at}.png")
        few, many = write_rows(home, count // 10), write_rows(home, count)
        cases = {f"{count // 10:,} rows": (few, home / "few.new.jsonl"), f"{count:,} rows": (many, home / "new.jsonl")}
        cases[f"{count:,} rows, pictures linked"] = many, home / "other" / "new.jsonl"
        found = {name: measured(*case) for name, case in cases.items()}
    for name, (wall, cpu, memory) in found.items():
        print(f"{name}: {wall:.1f} s, {cpu:.1f} s of a processor, {memory:.0f} MiB")
    (_, _, small), (seconds, _, large), (linked, _, _) = found.values()
    return int(max(seconds, linked) > most or large > 1.5 * small)


if __name__ == "__main__":
    numbers = [float(word) for word in sys.argv[1:]]
    sys.exit(main(int(numbers[0]) if numbers else 100_000, numbers[1] if len(numbers) > 1 else 60.0))
