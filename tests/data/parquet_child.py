"""Reads the files named on its standard input and says of each how that went; it runs in a process of its own.

pyarrow is native code: should it ever break on hostile bytes, it takes this process along and not the tests.
"""

import resource
import sys
from pathlib import Path

from virc.core.errors import DataError
from virc.data.formats import prompts, rl
from virc.data.formats.registry import RowsFile, get

MOST_MEMORY = 6 * 2**30


def outcome(path: Path) -> str:
    """Read a file in all ways: how many rows it has and how many of them are faulty, or what went wrong."""
    for name in ("batch", "prompts", "rl", "sft", "trajectories"):
        get(name).recognises(path)
    try:
        rows = list(rl.read(RowsFile(path, "rl", "x")))
        one_each = list(rl.problems(rows))
        opened = list(prompts.read(RowsFile(path, "prompts", "x")))
    except DataError as error:
        return f"refused: {error.message}"
    numbers = [row.number for row in rows]
    if numbers != sorted(set(numbers)) or any((row.record is None) is (row.fault is None) for row in rows + one_each):
        return f"broken: rows {numbers}"
    if [row.number for row in opened] != numbers or sum(row.fault is not None for row in one_each) != faults(rows):
        return f"broken: {len(rows)} rows read, {len(one_each)} problems, {len(opened)} prompts"
    return f"read: {len(rows)} rows, {faults(rows)} faulty"


def faults(rows: list) -> int:  # type: ignore[type-arg]
    """How many of them have one."""
    return sum(row.fault is not None for row in rows)


def main() -> None:
    """One line out for each line in."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    for line in sys.stdin:
        try:
            said = outcome(Path(line.rstrip("\n")))
        except BaseException as error:  # a panic of native code may be none of Exception
            said = f"raised: {error!r}"
        print(" ".join(said.split()), flush=True)


if __name__ == "__main__":
    main()
