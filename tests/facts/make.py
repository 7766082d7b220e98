#!/usr/bin/env python
"""Make `facts.json` of a system from a repository of its authors: `python tests/facts/make.py SYSTEM REPOSITORY`.

`SYSTEM.yaml` beside this file says what stands where; `trainers.yaml` how a trainer's keys are called in our engine.
Of a text its length and a digest are kept, so nothing of the repository gets into this one but values of settings.

A text is `file` alone, or with one of: `name`, a constant (`CLASS.NAME`, `NAME.key`); `with`, the first string of a
Python file that holds it; `pattern`, group 1 of an expression. `fill` replaces parts of it, `strip` drops white space
at its ends, `join` puts several together.

Boxes are those that `program.json` has of a published function, or what `run` makes of `BOXES` or `POINTS`: Python that
has what `take` names out of `file`, an `image`, its size as `shown`, a `box` and the `reply` with it, and, as `seen`,
what is cut out of the image; it may say itself what is `cut`. It runs here, so read the functions first.
"""

import __future__

import ast
import io
import json
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import msgspec
import yaml
from PIL import Image, ImageDraw
from support import facts
from support.facts import Box, Boxes, Facts, Spoken, Text, Trained, Value, Values, same

from virc.systems import registry as systems
from virc.systems.catalog.facts import file_of
from virc.systems.registry import System

HERE = Path(__file__).parent
Spec = Mapping[str, Any]
PER_KIND, LARGEST = 10, 1100
"""Boxes of a kind that are kept, and the longest side of their pictures in pixels."""
BOXES = (
    (56, 42, 280, 210),  # inside
    (0, 0, 560, 420),  # all of it
    (500, 340, 560, 420),  # up to its edges
    (-20, -30, 90, 80),  # over them
    (500, 340, 620, 460),
    (570, 430, 650, 500),  # outside
    (-90, -80, -10, -10),
    (560, 10, 610, 90),
    (100, 100, 101, 101),  # one pixel, and the last one
    (559, 419, 560, 420),
    (100, 100, 102, 102),
    (300, 50, 100, 200),  # reversed
    (100, 200, 300, 50),
    (300, 200, 100, 50),
    (100, 50, 100, 200),  # without a side
    (100, 50, 300, 50),
    (10.4, 20.6, 110.5, 120.9),  # of fractions
    (10.2, 10.2, 10.9, 10.9),
    (50, 60, 60, 66),  # tiny
    (0, 200, 560, 203),  # long
    (200, 0, 201, 420),
    (-1e6, -1e6, 1e6, 1e6),
    (0, 0, 559, 419),
)
"""Pixels of a picture of 560 by 420."""
POINTS = (
    *((280, 210), (0, 0), (560, 420), (559, 419), (561, 210), (280, 421), (-1, 10), (10, -1), (182, 182), (181, 183)),
    *((378, 238), (377, 239), (100.4, 100.6), (0.4, 419.6), (1000, 1000), (-500, -500), (559.5, 1), (12, 300)),
    *((300, 12), (600, 210)),
)
"""The same, as points."""
LEAVES = re.compile(r"[{\[][^{}\[\]]*(?:[{\[][^{}\[\]]*[}\]][^{}\[\]]*)*[}\]]")
"""An object or a list with no more than plain lists in it, which gets a line of its own."""
FRACTION = re.compile(r"\.\d*[1-9]")


class Source:
    """A repository at a commit, and what is found in its files."""

    def __init__(self, folder: Path, commit: str) -> None:
        self.folder, self.commit = folder, commit

    def read(self, path: str) -> str:
        """A file; one of a further repository, which lies beside this one, is called OWNER/NAME@COMMIT:PATH."""
        repository, _, inner = path.rpartition(":")
        name, _, commit = repository.partition("@")
        folder = self.folder.parents[1] / name.replace("/", "+") / self.folder.name if name else self.folder
        command = ["git", "-C", str(folder), "show", f"{commit or self.commit}:{inner}"]
        return subprocess.run(command, capture_output=True, check=True).stdout.decode().replace("\r\n", "\n")

    def text(self, spec: Spec) -> str:
        """A text, as its description says."""
        if "join" in spec:
            found = "".join(
                each if isinstance(each, str) else self.text({**spec_of(spec), **each}) for each in spec["join"]
            )
        else:
            found = self._found(spec)
        for old, new in spec.get("fill", {}).items():
            if old not in found:
                raise SystemExit(f"{spec}: {old!r} is not in the text")
            found = found.replace(old, new)
        return found.strip() if spec.get("strip") else found

    def _found(self, spec: Spec) -> str:
        content = self.read(spec["file"])
        if "pattern" in spec:
            match = re.search(spec["pattern"], content, re.DOTALL)
            if not match:
                raise SystemExit(f"{spec}: there is no such text")
            return match[1]
        if "with" in spec:
            texts = [text for text in strings(ast.parse(content)) if spec["with"] in text]
            return texts[spec.get("at", 0)]
        if "name" in spec:
            return str(constant(ast.parse(content), spec["name"]))
        return content

    def default(self, path: str, name: str) -> Any:
        """What an argument, a field or a constant has by default, and an `add_argument` too."""
        content = self.read(path)
        if path.endswith((".yaml", ".yml")):
            return reduce(lambda node, key: node[key], name.split("."), yaml.safe_load(content))
        return constant(ast.parse(content), name)


def loaded(name: str) -> Spec:
    """A description beside this file."""
    found: Spec = yaml.safe_load((HERE / f"{name}.yaml").read_bytes())
    return found


def spec_of(spec: Spec) -> Spec:
    return {key: value for key, value in spec.items() if key == "file"}


def strings(tree: ast.AST) -> Iterator[str]:
    """Every string in it, in order; what is put into an f-string stands there in braces."""
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
        if part is not node
    }
    found = [
        node for node in ast.walk(tree) if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in inside
    ]
    for node in sorted(found, key=lambda node: (node.lineno, node.col_offset)):
        value = value_of(node)
        if isinstance(value, str):
            yield value


def constant(tree: ast.AST, name: str) -> Any:
    """The value that a name gets first, whatever it is in; of `NAME.key` that of a key, of `OWNER.NAME` within a class
    or function.
    """
    first, _, rest = name.partition(".")
    for node in ast.walk(tree):
        if rest and isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == first:
            return constant(ast.Module(node.body, []) if isinstance(node, ast.ClassDef) else node, rest)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(each, ast.Name | ast.Attribute) and _name(each) == first for each in targets):
                value = value_of(node.value)
                return value[rest] if rest else value
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.args, *node.args.kwonlyargs]
            defaults = [*node.args.defaults, *node.args.kw_defaults]
            for argument, default in zip(
                arguments[len(node.args.args) - len(node.args.defaults) :], defaults, strict=True
            ):
                if argument.arg == name and default is not None:
                    return value_of(default)
        if isinstance(node, ast.Call) and node.args and value_of(node.args[0]) == f"--{name}":
            return next((value_of(each.value) for each in node.keywords if each.arg == "default"), None)
    raise SystemExit(f"there is no {name}")


def _name(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


def value_of(node: ast.AST) -> Any:
    """The value of a literal, of texts put together, and of a field's default; None of anything else."""
    match node:
        case ast.JoinedStr(values=parts):
            return "".join(str(value_of(each)) if isinstance(each, ast.Constant) else _braces(each) for each in parts)
        case ast.BinOp(op=ast.Add()):
            return f"{value_of(node.left)}{value_of(node.right)}"
        case ast.Call():
            return _called(node)
    with suppress(ValueError):
        return ast.literal_eval(node)
    return None


def _braces(node: ast.expr) -> str:
    return "{" + ast.unparse(node.value if isinstance(node, ast.FormattedValue) else node) + "}"


def _called(node: ast.Call) -> Any:
    """The text that a method changes, or the default of a field."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if name == "dedent":
        return textwrap.dedent(str(value_of(node.args[0])))
    if isinstance(node.func, ast.Attribute) and name in ("strip", "format"):
        text = str(value_of(node.func.value))
        return text.strip() if name == "strip" else text
    return next((value_of(each.value) for each in node.keywords if each.arg == "default"), None)


def plain(text: str) -> Any:
    """A value on a command line."""
    try:
        return (
            float(text)
            if re.fullmatch(r"[-+]?\d*\.?\d+([eE][-+]?\d+)?", text) and not text.isdigit()
            else yaml.safe_load(text)
        )
    except Exception:
        return text


def script(text: str, path: str) -> dict[str, Any]:
    """The keys of a script: `--key value`, `a.key=value`, or those of a YAML file; the last one counts."""
    if path.endswith((".yaml", ".yml")):
        return flat(yaml.safe_load(text))
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\s*(\n|$)", " ", "\n".join(lines))
    known: dict[str, str] = {}
    variables: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for line in joined.splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            words = line.split()
        key: str | None = None
        for written in words:
            if written == "|" or re.match(r"\d?>", written):
                break
            usual = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", written)
            word = re.sub(r"\$\{?(\w+)\}?", lambda match: known.get(match[1], match[0]), usual)
            name, equals, value = word.partition("=")
            if word.startswith("--") and len(word) > 2:
                key = name[2:]
                found[key] = plain(value) if equals else True
            elif equals and re.fullmatch(r"\+*[a-z_]\w*(\.\w+)+", name):
                key = None
                found[name] = plain(value)
            elif equals and re.fullmatch(r"\w+", name) and not key:
                known[name] = value
                if name.isupper():
                    variables[name] = plain(value)
            elif key is not None:
                before = found[key]
                found[key] = plain(word) if before is True else f"{before} {word}"
    return variables | found


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return found


def stage(source: Source, name: str, spec: Spec, system: System) -> dict[str, Value]:
    """Each key of a script and of the trainer's defaults, with what it is called here."""
    trainer: Spec = loaded("trainers")[spec["trainer"]]
    told = {
        key: (path, value)
        for told_by in (trainer, spec)
        for path, values in told_by.get("usual", {}).items()
        for key, value in values.items()
    }
    for path, keys in spec.get("defaults", {}).items():
        told |= {key: (path, source.default(path, key)) for key in keys}
    for path in spec.get("config", ()):
        config = flat(yaml.safe_load(source.read(path)))
        told |= {key: (path, config[key]) for key in trainer["defaults"] if key in config}
    for each in spec.get("scripts", ()):
        of = {"file": each} if isinstance(each, str) else each
        told |= {key: (of["file"], value) for key, value in script(source.text(of), of["file"]).items()}
    told |= {key: (each["file"], plain(source.text(each))) for key, each in spec.get("found", {}).items()}
    for key, other in trainer.get("otherwise", {}).items():
        if told.get(key, ("", None))[1] is None and other in told:
            told[key] = told[other]
    told |= {
        key: ("as the script computes it", plain(value) if isinstance(value, str) else value)
        for key, value in spec.get("given", {}).items()
    }
    names = {**trainer.get("is", {}), **spec.get("is", {})}
    both = {**trainer.get("values", {}), **spec.get("values", {})}
    values = {key: {str(old).lower(): new for old, new in each.items()} for key, each in both.items()}
    passed = [*trainer.get("passed", ()), *spec.get("passed", ())]
    reasons = [
        (name, why, each == "alike")
        for told_by in (spec, trainer)
        for each in ("differs", "alike")
        for name, why in told_by.get(each, {}).items()
    ]
    trained, found = Trained(system, name), dict[str, Value]()

    def reason(key: str, place: str | None) -> dict[str, Any]:
        said = next(((why, alike) for name, why, alike in reasons if re.fullmatch(name, key)), None)
        why, alike = said or (trained.reason(place or key), True)
        return {"why": why, "alike": alike}

    def add(key: str, path: str, value: Any, means: Any, place: str | None) -> None:
        here, written = trained.value(place), None if same(value, means) else means
        differs = {} if same(means, here) else {**reason(key, place), "ours": here}
        found[key] = Value(path, value, place, written, **differs)

    for key, (path, value) in told.items():
        if key.isupper() and key not in names:
            continue
        if key in spec.get("computed", {}) or any(re.fullmatch(each, key) for each in passed):
            continue
        if "$" in str(value):
            raise SystemExit(f"{path}: {key} is {value}; `given` or `computed` has to say what that is, or `passed`")
        means = values.get(key, {}).get(str(value).lower(), value)
        add(key, path, value, means, names.get(key, None if trainer.get("renamed") else key.lstrip("+")))
    for key, factors in spec.get("computed", {}).items():
        total = int(reduce(lambda so_far, each: so_far * _factor(each, told), factors, 1.0))
        add(key, "as the script computes it", total, total, key)
    if frozen := spec.get("frozen", {}):
        of = frozen["keys"]
        parts = sorted(part for key, part in of.items() if told[key][1]) if isinstance(of, Mapping) else sorted(of)
        if not of and re.search(r"freeze|frozen|requires_grad_?\W+False", source.read(frozen["file"])):
            raise SystemExit(f"{frozen['file']} freezes something")
        add("frozen", frozen["file"], parts, parts, "frozen")
    return found


def _factor(each: Any, told: Mapping[str, tuple[str, Any]]) -> float:
    if not isinstance(each, str):
        return float(each)
    return 1 / float(told[each[1:]][1]) if each.startswith("/") else float(told[each][1])


def text_of(source: Source, spec: Spec, spoken: Spoken, name: str) -> Text:
    """The fact of a text."""
    published, replies = source.text(spec), tuple(spec.get("replies", ()))
    theirs, ours = facts.digest(published), facts.digest(here := spoken.text(name, replies))
    if theirs != ours and "why" not in spec:
        print(f"--- {name}, published", published, "--- and here", here, "---", sep="\n")
    parts = [spec, *(part for part in spec.get("join", ()) if not isinstance(part, str))]
    file = ", ".join(dict.fromkeys(part["file"] for part in parts if "file" in part))
    return Text(file, len(published), theirs, replies, **_differing(theirs, ours, spec))


def _differing(theirs: Any, ours: Any, spec: Spec) -> dict[str, Any]:
    return {} if theirs == ours else {"why": spec.get("why"), "ours": ours}


def stop_of(source: Source, spec: Spec, spoken: Spoken) -> Values:
    """The texts that end a reply."""
    texts = spec["texts"] if "texts" in spec else source.default(spec["file"], spec["name"])
    content = source.read(spec["file"])
    if missing := [text for text in texts if json.dumps(text)[1:-1].strip("<>/") not in content]:
        raise SystemExit(f"{spec['file']} has no {missing}")
    digests = tuple(sorted(map(facts.digest, texts)))
    return Values(spec["file"], digests, **_differing(digests, spoken.stops(), spec))


def rows_of(source: Source, spec: Spec, spoken: Spoken, layout: str) -> Values:
    """The columns that a program reads."""
    columns, content = tuple(sorted(spec["columns"])), source.read(spec["file"])
    if missing := [each for each in columns if not re.search(rf"\b{re.escape(each)}\b", content)]:
        raise SystemExit(f"{spec['file']} reads no {missing}")
    return Values(spec["file"], columns, **_differing(columns, spoken.columns(layout), spec))


def boxes_of(source: Source, system: System, spec: Spec, spoken: Spoken) -> Boxes:
    """Boxes that a published function was given, and what it made of them."""
    if "run" in spec:
        where, cases = spec["file"], [*run_of(source, spec)]
    else:
        where, cases = told_of(system, spec)
    of_ours = ((each, spoken.cut(each)) for each in cases)
    found = (each if here == each.cut else msgspec.structs.replace(each, ours=here) for each, here in of_ours)
    return Boxes(where, tuple(found), spec.get("why"))


def told_of(system: System, spec: Spec) -> tuple[str, list[Box]]:
    """Where they are of, and some of the boxes of `program.json`: refused, kept, rounded and changed ones."""
    told = json.loads((system.file.parent / "program.json").read_bytes())
    kinds: dict[str, list[Box]] = {}
    for case in told[spec["cases"]]:
        box, cut = case[spec["box"]], case[spec["cut"]]
        fractions = FRACTION.search(json.dumps(box))
        kind = "refused" if cut is None else "rounded" if fractions else "kept" if list(cut) == list(box) else "changed"
        size = tuple(case[spec["size"]])
        if max(size) > LARGEST or any(side % spec.get("grid", 1) for side in size):
            continue
        kinds.setdefault(kind, []).append(box_of(spec, size, box, cut))
    some = (found[:: max(len(found) // PER_KIND, 1)][:PER_KIND] for found in kinds.values())
    return told["source"].split(",")[0], [each for found in some for each in found]


def box_of(spec: Spec, size: tuple[int, int], box: Sequence[float], cut: Sequence[float] | None) -> Box:
    reply = spec["reply"].replace("BOX", json.dumps(box))
    return Box(size, reply, None if cut is None else tuple(map(round, cut)))


class Cut:
    """A picture as OpenCV has it, of which only what is cut out of it is seen."""

    def __init__(self, size: tuple[int, int], seen: list[Sequence[float]]) -> None:
        self.shape, self.seen = (*size[::-1], 3), seen

    def __getitem__(self, key: tuple[slice, slice]) -> None:
        rows, columns = (each.indices(side) for each, side in zip(key, self.shape, strict=False))
        self.seen.append((columns[0], rows[0], columns[1], rows[1]))


def run_of(source: Source, spec: Spec) -> Iterator[Box]:
    """What the published functions make of each box; a third of them on a picture that is not on the grid of 28."""
    tree = ast.parse(source.read(spec["file"]))
    taken = [each for each in tree.body if getattr(each, "name", "") in spec["take"]]
    published, run = compiled(ast.Module(taken, [])), compiled(ast.parse(spec["run"]))
    boxes = POINTS if spec.get("points") else BOXES
    off = [] if spec.get("grid") else [((640, 480), (644, 476), box) for box in boxes[::3]]
    for size, shown, given in [*(((560, 420), (560, 420), box) for box in boxes), *off]:
        box = [round(side / (560, 420)[at % 2], 4) if spec.get("unit") else side for at, side in enumerate(given)]
        case = box_of(spec, size, box, None)
        cut = cut_by((published, run), case, shown=shown, box=box)
        yield msgspec.structs.replace(case, cut=cut and tuple(map(round, cut)))


def cut_by(code: Sequence[Any], case: Box, **named: Any) -> Sequence[float] | None:
    """What the published functions, and what calls them, cut out of a picture; None where nothing is left of it."""
    seen: list[Sequence[float]] = []
    crop, image = Image.Image.crop, Image.new("RGB", case.size)
    stands_in = {
        "ToolBase": object,
        "np": MagicMock(ndarray=Cut),
        "cv2": MagicMock(imread=MagicMock(return_value=Cut(case.size, seen))),
    }
    modules = {"Image": Image, "ImageDraw": ImageDraw, "MagicMock": MagicMock, "io": io, "json": json, "re": re}
    told: dict[str, Any] = {**modules, **stands_in, **named, "image": image, "reply": case.reply, "seen": seen}

    def cropped(of: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
        seen.append(box)
        return crop(of, box)

    with patch.object(Image.Image, "crop", cropped):
        try:
            for each in code:
                exec(each, told)
        except Exception as error:
            print(f"{case.reply}: {error!r}")
            return None
    cut = told.get("cut", seen[-1] if seen else None)
    return cut if cut and cut[0] < cut[2] and cut[1] < cut[3] else None


def compiled(tree: ast.Module) -> Any:
    """Code whose annotations are not looked up."""
    return compile(tree, "published", "exec", __future__.annotations.compiler_flag, dont_inherit=True)


def make(name: str, folder: Path) -> Facts:
    """The facts of a system."""
    spec, system = loaded(name), systems.get(name)
    source, spoken = Source(folder, spec["source"].split("@")[1]), Spoken(system)
    return Facts(
        source=spec["source"],
        texts={key: text_of(source, each, spoken, key) for key, each in spec.get("texts", {}).items()},
        stop=stop_of(source, spec["stop"], spoken) if "stop" in spec else None,
        boxes=boxes_of(source, system, spec["boxes"], spoken) if "boxes" in spec else None,
        rows={key: rows_of(source, each, spoken, key) for key, each in spec.get("rows", {}).items()},
        stages={key: stage(source, key, each, system) for key, each in spec.get("stages", {}).items()},
        notes=tuple(spec.get("notes", ())),
    )


def main(arguments: Sequence[str]) -> int:
    """Write the file, and print what it has no reason for."""
    name, folder = arguments[0], Path(arguments[1])
    system, found = systems.get(name), make(name, folder)
    lines = json.dumps(msgspec.to_builtins(found), ensure_ascii=False, indent=1)
    file_of(system.file).write_text(LEAVES.sub(_one_line, lines) + "\n", encoding="utf-8")
    faults = [*facts.differing(system, found)]
    print(*faults, sep="\n")
    return 1 if faults else 0


def _one_line(match: re.Match[str]) -> str:
    return re.sub(r"\s*\n\s*", " ", match[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
