"""`virc batch` through a server, beside a loop over the `openai` client: `python benchmarks/batch.py [ROWS [ROUNDS]]`.

Each of ROWS rows (200) asks one question about a photograph of 1008 x 756 px in a file of its own. A scripted server in
another process answers after 50 ms; 16 requests run at a time. The loop parses the same rows, sends each file as it is
from 16 threads, and writes one line an answer. Both run in turns, ROUNDS times (5). Counted are the processor time and
the wall time from start to end, and the largest memory of the process.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from client import files, server, spent

SIDES, AT_A_TIME = (1008, 756), 16
SERVER = """
import sys, time
sys.path[:0] = sys.argv[1].split(":")
from support.servers import serve
from support.solving import answer
def turn(body):
    time.sleep(0.05)
    return answer("1")
with serve(turn, usage=False) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""
PLAIN = """
import base64, json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from openai import OpenAI
url, rows, out, width = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
client = OpenAI(base_url=url, api_key="none")
(model,) = client.models.list()
def asked(line):
    row = json.loads(line)
    data = base64.b64encode((rows.parent / row["image"]).read_bytes()).decode()
    picture = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}
    content = [picture, {"type": "text", "text": row["question"]}]
    messages = [{"role": "system", "content": "You may call tools."}, {"role": "user", "content": content}]
    completion = client.chat.completions.create(model=model.id, messages=messages, temperature=0, max_tokens=1024)
    return {"id": row["id"], "answer": completion.choices[0].message.content}
with ThreadPoolExecutor(width) as pool, open(out, "w") as file:
    for answer in pool.map(asked, rows.read_text().splitlines()):
        file.write(json.dumps(answer) + "\\n")
"""


class Cost(NamedTuple):
    """Of one run: processor time and wall time in s, largest memory in MiB."""

    cpu: float
    wall: float
    memory: float


def write_rows(folder: Path, count: int) -> Path:
    """A file of so many rows, each with a picture of its own."""
    (folder / "images").mkdir()
    rows = folder / "rows.jsonl"
    with rows.open("w") as file:
        for at, data in enumerate(files(count, SIDES, 90)):
            (folder / "images" / f"{at}.jpg").write_bytes(data)
            row = {"id": f"{at}", "image": f"images/{at}.jpg", "question": "How many?", "answer": "1"}
            file.write(json.dumps(row) + "\n")
    return rows


def run(words: list[str], answers: Path, count: int) -> Cost:
    """One run of a command that answers all rows."""
    began = time.monotonic()
    cpu, memory = spent(subprocess.Popen(words, stdout=subprocess.DEVNULL))
    wall = time.monotonic() - began
    assert len(answers.read_text().splitlines()) == count
    answers.unlink()
    return Cost(cpu, wall, memory)


def main(count: int = 200, rounds: int = 5) -> None:
    """Print the medians of both, and their ratios."""
    with tempfile.TemporaryDirectory() as name, server(SERVER) as (url, _):
        folder = Path(name)
        rows = write_rows(folder, count)
        ours, theirs = folder / "ours.jsonl", folder / "theirs.jsonl"
        options = ["--endpoint", url, "--concurrency", str(AT_A_TIME), "--to", str(ours), "--quiet"]
        virc = [str(Path(sys.executable).with_name("virc")), "batch", str(rows), *options]
        plain = [sys.executable, "-c", PLAIN, url, str(rows), str(theirs), str(AT_A_TIME)]
        pairs = [(run(virc, ours, count), run(plain, theirs, count)) for _ in range(rounds)]
    one, other = (Cost(*map(median, zip(*each, strict=True))) for each in zip(*pairs, strict=True))
    print(f"{count} rows, {AT_A_TIME} at a time")
    for unit, mine, loop in zip(("s of processor time", "s", "MiB at most"), one, other, strict=True):
        print(f"  virc {mine:8.2f}, loop {loop:8.2f}, ratio {mine / loop:.2f}  {unit}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
