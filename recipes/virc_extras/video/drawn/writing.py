"""Writes problems of drawn clips and documents: their files, and rows of `virc batch` that name them.

A row has the right `calls` in front of its answer, for `virc data convert --answers`, and the `evidence`: where in the
file each fact is, in seconds or as a page, with its box in px.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from virc.core.errors import UsageError
from virc.core.files import fresh_folder
from virc.core.json_stream import one_line
from virc.data.synth.draw import Progress, SynthConfig
from virc.data.synth.families import registry as families
from virc.models.chat_protocol import written
from virc.reasoning.protocol import FILE_NAME, own_protocol
from virc.tools.registry import load, schemas

_FREE = ("to", "count", "seed", "split", "families", "formats", "workers")


def write(config: SynthConfig, on_progress: Progress) -> Path:
    """Make the folder: `problems.jsonl`, `files/`, and a chat protocol with the tools that problems need.

    Raises:
        UsageError: other families or formats, or options that draw pictures, are asked for.
        SetupError: a package is missing.
    """
    names = config.families or ()
    _check(config, names)
    tools = dict.fromkeys(tool for name in names for tool in _family(name).TOOLS)
    load(tools)
    with fresh_folder(config.to) as folder:
        (folder / "files").mkdir()
        with (folder / "problems.jsonl").open("w", encoding="utf-8") as rows:
            for number in range(config.count):
                rows.write(one_line(_drawn(folder, config, number)) + "\n")
                on_progress("drawn", number + 1)
        (folder / FILE_NAME).write_bytes(written(own_protocol(schemas(tools))))
    return config.to


def _check(config: SynthConfig, names: Sequence[str]) -> None:
    if pictures := [name for name in names if not families.own_writer([name])]:
        sentence = f"{' and '.join(pictures)} are pictures, and are not drawn together with clips or documents"
        raise UsageError(sentence, "«--family» with one kind")
    if config.formats != ("batch",):
        learnt = "virc data convert DIR/problems.jsonl --answers --protocol DIR/virc_protocol.json"
        raise UsageError(
            f"{' and '.join(names)} are written as problems", f"«--formats batch»; {learnt} writes solutions"
        )
    plain = SynthConfig(**{name: getattr(config, name) for name in _FREE})
    if other := next((name for name in config.__struct_fields__ if getattr(config, name) != getattr(plain, name)), ""):
        option = "«--system»" if other == "protocol" else f"«--{other}»"
        raise UsageError(f"{' and '.join(names)} are drawn without {option}", f"leave {option} out")
    for name in names:
        _family(name).check_ready()


def _drawn(folder: Path, config: SynthConfig, number: int) -> dict[str, Any]:
    """Draw the file of the problem of that number, which depends on no other, and return its row."""
    rng = random.Random(f"{config.seed} {config.split} {number}")
    family = _family(rng.choice(config.families or ()))
    problem, name = family.generate(rng, config.split), f"{family.NAME}-{config.split}-{config.seed}-{number:06d}"
    file = f"files/{name}{family.ENDING}"
    (folder / file).write_bytes(family.file_of(problem))
    named = {field: getattr(problem, field) for field in ("question", "answer", "calls", "evidence")}
    return {"id": name, family.COLUMN: file, **named}


def _family(name: str) -> Any:
    return families.get(name)
