"""Plant faults that would hurt a user, one at a time, and see whether the default suite turns red.

    python tests/mutants/run.py                          # all of them, two at a time
    python tests/mutants/run.py --room rewards --name judge
    python tests/mutants/run.py --sample 20 --seed 3

`faults/ROOM.toml` has the faults: each is a text of a file, what is planted in its place, what a user suffers from it,
and the tests of the default suite of which one has to fail. Faults are planted in a copy of the tree. Prints each fault
that no test saw, and the share that was seen by room; ends with 1 where a fault was not seen.
"""

import argparse
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import msgspec

ROOT = Path(__file__).resolve().parents[2]
FAULTS = Path(__file__).with_name("faults")
_LEFT_OUT = shutil.ignore_patterns(".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", "dist", "build")
_LIMIT = 600  # seconds for the tests of one fault; one that hangs is seen
_SECONDS = itertools.count(1_000_000_000)
_RED = (1, 2)  # pytest's exit codes where tests failed, or could not be collected


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault that an engineer could make.

    Args:
        name: what is wrong, in a few words.
        file: where, below the repository's root.
        text: what stands there; once in the file.
        instead: what is planted in its place.
        hurts: what a user suffers.
        tests: files or node ids of the default suite; one of their tests has to fail.
    """

    name: str
    file: str
    text: str
    instead: str
    hurts: str
    tests: tuple[str, ...]

    @property
    def room(self) -> str:
        """The room of its file: `rewards`, or a package that has no rooms."""
        parts = Path(self.file).parts
        return parts[2] if parts[:2] == ("recipes", "virc") else parts[parts[0] == "recipes"]


def read(folder: Path = FAULTS) -> list[Fault]:
    """Return all faults, by file name and in their order."""
    tables = (tomllib.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.toml")))
    return [fault for table in tables for fault in msgspec.convert(table["fault"], list[Fault])]


def planted(fault: Fault, content: str) -> str:
    """Return the content of its file with the fault.

    Raises:
        ValueError: its text is not there exactly once.
    """
    if (count := content.count(fault.text)) != 1:
        raise ValueError(f"{fault.name}: its text is {count} times in {fault.file}")
    return content.replace(fault.text, fault.instead)


def is_seen(tree: Path, fault: Fault) -> bool:
    """Return whether a test fails with the fault, which is taken out again.

    Raises:
        RuntimeError: pytest could not run the tests.
    """
    file = tree / fault.file
    before = file.read_text(encoding="utf-8")
    _write(file, planted(fault, before))
    try:
        return run(tree, fault.tests)
    finally:
        _write(file, before)


def _write(file: Path, text: str) -> None:
    """Write a file at a time of its own: Python knows a compiled form by the size and second of its source."""
    file.write_text(text, encoding="utf-8")
    os.utime(file, (second := next(_SECONDS), second))


def run(tree: Path, tests: Iterable[str]) -> bool:
    """Return whether one of these tests fails, or does not end.

    Raises:
        RuntimeError: pytest could not run them.
    """
    paths = os.pathsep.join(map(str, (tree, tree / "recipes", tree / "tests")))
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=_LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    if done.returncode not in (0, *_RED):
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.returncode in _RED


def copy(to: Path) -> Path:
    """Return a copy of the repository in a new folder of `to`."""
    return shutil.copytree(ROOT, Path(tempfile.mkdtemp(dir=to)) / "virc", ignore=_LEFT_OUT, symlinks=True)


def judge(trees: "SimpleQueue[Path]", fault: Fault) -> bool:
    """Return whether a fault is seen, in a copy that no other one is planted in; say so where it is not."""
    tree = trees.get()
    try:
        seen = is_seen(tree, fault)
    finally:
        trees.put(tree)
    text = "seen" if seen else f"NOT SEEN by {' '.join(fault.tests)}; {fault.hurts}"
    print(f"{fault.room}: {fault.name}: {text}", file=sys.stderr, flush=True)
    return seen


def chosen(arguments: argparse.Namespace) -> Sequence[Fault]:
    """Return the faults that are asked for."""
    faults = [
        fault
        for fault in read()
        if arguments.room in (None, fault.room) and arguments.name.lower() in fault.name.lower()
    ]
    return random.Random(arguments.seed).sample(faults, min(arguments.sample or len(faults), len(faults)))


def main() -> int:
    """Plant the faults, and print what became of them."""
    parser = argparse.ArgumentParser(description="Plant faults and see whether the default suite turns red.")
    parser.add_argument("--room", help="only faults of this room")
    parser.add_argument("--name", default="", help="only faults with this text in their names")
    parser.add_argument("--sample", type=int, help="as many of them, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--jobs", type=int, default=2, help="how many at the same time")
    arguments = parser.parse_args()
    faults = chosen(arguments)
    trees: SimpleQueue[Path] = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="virc-mutants-") as folder:
        copies = [copy(Path(folder)) for _ in range(min(arguments.jobs, len(faults)))]
        for tree in copies:
            trees.put(tree)
        if copies and run(copies[0], sorted({test for fault in faults for test in fault.tests})):
            print("the tests fail without a fault, too", file=sys.stderr)
            return 1
        with ThreadPoolExecutor(arguments.jobs) as pool:
            seen = list(pool.map(partial(judge, trees), faults))
    total, caught = (
        Counter(fault.room for fault in faults),
        Counter(fault.room for fault, is_caught in zip(faults, seen, strict=True) if is_caught),
    )
    for room, count in sorted(total.items()):
        print(f"{room:12} {caught[room]:3} of {count:3}")
    print(f"{'all':12} {sum(seen):3} of {len(faults):3}")
    return 0 if all(seen) else 1


if __name__ == "__main__":
    sys.exit(main())
