"""Plant random faults in a room, one at a time in a copy, and print those that its tests do not see; nothing is stored.

`python tests/sample_faults.py recipes/virc/scoring tests/scoring --count 200 --seed 7`
"""

import argparse
import ast
import copy
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OTHER = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
OTHER |= {ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.And: ast.Or, ast.Or: ast.And}


def faults(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what could stand in the place of a node: another operator or number, no result, no call, no refusal."""
    changed = copy.deepcopy(node)
    if isinstance(changed, ast.Compare) and type(changed.ops[0]) in OTHER:
        changed.ops[0] = OTHER[type(changed.ops[0])]()
        yield changed
    elif isinstance(changed, ast.BoolOp | ast.BinOp) and type(changed.op) in OTHER:
        changed.op = OTHER[type(changed.op)]()
        yield changed
    elif isinstance(node, ast.Constant) and type(node.value) in (int, bool):
        yield ast.Constant(not node.value if isinstance(node.value, bool) else node.value + 1)  # type: ignore[operator]
    elif isinstance(node, ast.Return) and node.value is not None:
        yield ast.Return()
    elif isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass()


def main() -> None:
    """Draw functions, and one fault in each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance, drawn = random.Random(asked.seed), []
    for file in sorted((ROOT / asked.source).rglob("*.py")):
        for function in (
            each for each in ast.walk(ast.parse(file.read_text("utf-8"))) if hasattr(each, "decorator_list")
        ):
            found = [(node, fault) for body in function.body for node in ast.walk(body) for fault in faults(node)]
            drawn += [(file.relative_to(ROOT), function.name, *chance.choice(found))] if found else []
    chance.shuffle(drawn)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(shutil.copytree(ROOT, Path(folder, "tree"), ignore=shutil.ignore_patterns(".git", "__pycache__")))
        for file, name, node, fault in drawn[: asked.count]:
            text = (ROOT / file).read_bytes()
            starts = [0, *(at + 1 for at, byte in enumerate(text) if byte == ord("\n"))]
            begin, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
            planted = ast.unparse(fault) if isinstance(fault, ast.stmt) else f"({ast.unparse(fault)})"
            (tree / file).write_bytes(text[:begin] + planted.encode() + text[end:])
            command = [sys.executable, "-m", "pytest", "-qx", *asked.tests]
            if subprocess.run(command, cwd=tree, capture_output=True).returncode == 0:
                print(f"{file}:{node.lineno} {name}: {text[begin:end].decode()!r} -> {planted!r}", flush=True)
            (tree / file).write_bytes(text)


if __name__ == "__main__":
    main()
