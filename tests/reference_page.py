"""`docs/reference.md`: commands, settings, exit codes, environment variables and JSON fields, read from the code."""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import typer
from protocol_page import code, value

from virc.config import taken, user
from virc.families.chat_marks import ChatMarks
from virc.families.registry import Family
from virc.families.sizing import ImageProcessor
from virc.reasoning.resize import Grid
from virc.stages import dpo, rl, sft
from virc.systems.registry import Judging, Reward
from virc_cli.console import output
from virc_cli.main import build, every_command

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference.md"
SCHEMAS = ROOT / "recipes" / "virc" / "core" / "schemas"

VARIABLES, INTERNAL = (taken.edges()[name].harmless for name in ("variable", "internal variable"))
"""Variables that a user sets, and those that virc sets for processes that it starts. The test of this page compares the
`VIRC_` ones with the code."""


def app() -> Any:
    """The whole command line, as Click sees it."""
    found: Any = typer.main.get_command(build(every_command()))
    for each in found.commands.values():
        if load := getattr(each, "load", None):
            load([*each.commands])
    return found


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that can be run, with its names: `("data", "check")`."""
    for name, each in command.commands.items():
        yield from leaves(each, (*path, name)) if hasattr(each, "commands") else [((*path, name), each)]


def page() -> str:
    """The page as it should be."""
    parts = [_HEAD, *_commands(), *_settings(), *_exit_codes(), *_variables(), *_schemas()]
    return "\n".join(parts).rstrip() + "\n"


_HEAD = """# Reference

After this page you know every [command](#commands) with its options, every [setting](#settings), [setting of a
stage](#settings-of-stages), [key of a family's file](#files-of-families), [exit code](#exit-codes),
[environment variable](#environment-variables) and
[JSON schema](#json-schemas). It is generated from the code by `python tests/regenerate.py`.

```sh
virc --help && virc solve --help
```
"""


_NOTES = """A batch with failed rows ends with 1. Code 3 includes the endpoint's 400, 401, 403 and 404; 6 includes
429 and 5xx after retries, and time-outs; 7 means that a model or server failed, or dropped part of the conversation.
After Ctrl-C or SIGTERM the trace so far is kept.
"""


def _commands() -> Iterator[str]:
    yield "## Commands\n\nEvery command also takes `--help`.\n"
    for names, command in leaves(app()):
        path = [name for name in names if name not in ("get", "write", "ask")]  # of `virc download NAME`
        yield f"### virc {' '.join(path)}\n"
        yield _prose(command.help or "") + "\n"
        rows = [_parameter(each) for each in command.params if each.name != "help" and not each.hidden]
        if rows:
            yield from _table(("argument or option", "default", "meaning"), rows)
        fields = getattr(inspect.getmodule(inspect.unwrap(command.callback)), "FAILURE", None)
        if fields is not None and any("--json" in each.opts for each in command.params):
            listed = ", ".join(f"`{name}`" for name in ("schema", *fields, "error"))
            yield f"`--json` prints `virc.{'.'.join(path)}/1`: {listed}.\n"


def _parameter(each: Any) -> tuple[str, str, str]:
    names = each.opts if each.param_type_name == "option" else [each.make_metavar(_context())]
    metavar = "" if each.param_type_name == "argument" or each.is_flag else f" {each.make_metavar(_context())}"
    default = "required" if each.required else _default(each)
    variable = f" Environment variable: `{each.envvar}`." if getattr(each, "envvar", None) else ""
    return f"`{', '.join(names)}{metavar}`", default, (each.help or "") + _range(each.type) + variable


def _range(kind: Any) -> str:
    """The bounds of a number, as text behind the help."""
    signs = (("≥", getattr(kind, "min", None)), ("≤", getattr(kind, "max", None)))
    bounds = ", ".join(f"{sign} {bound}" for sign, bound in signs if bound is not None)
    return f" ({bounds})" if bounds else ""


def _context() -> Any:
    return typer.Context(typer.core.TyperCommand("virc"))


def _default(each: Any) -> str:
    found = each.default
    if found is None or found is False or found in ((), []) or callable(found):
        return ""
    return f"`{getattr(found, 'value', found)}`"


def _settings() -> Iterator[str]:
    yield "## Settings\n"
    yield "`virc config set KEY VALUE` keeps one. An option and the environment variable have a higher priority.\n"
    rows = []
    for name, field in _properties(user.Settings).items():
        variables = ", ".join(f"`{each}`" for each in user.ENVIRONMENT.get(name, ()))
        rows.append((f"`{name}`", _described(field), variables))
    yield from _table(("key", "value", "environment variable"), rows)
    yield "`api_key` and `headers` come from the environment only.\n"
    yield "## Settings of stages\n"
    yield "`--set KEY=VALUE`, a file for `--config`, or `settings` of a stage in a system's YAML.\n"
    yield from _tables(sft.Config, dpo.Config, rl.Config, sft.Lora, Reward, Judging)
    yield "## Files of families\n"
    yield "`--family FILE`, or `recipes/virc/families/NAME.yaml`, whose levels (`here` to `rl`) alone count.\n"
    yield from _tables(Family, ChatMarks, ImageProcessor, Grid)


def _tables(*configs: Any) -> Iterator[str]:
    for config in configs:
        kind = config.__module__.rpartition(".")[2]
        yield f"### {kind if config.__name__ == 'Config' else config.__name__}\n"
        described = _args(config.__doc__ or "")
        if issubclass(config, sft.StageConfig):
            described = {**_args(sft.StageConfig.__doc__ or ""), **described}
        inherited: tuple[str, ...] = ()
        if config is not sft.Config and issubclass(config, sft.Config):
            yield "All settings of `sft`, and these.\n"
            inherited = sft.Config.__struct_fields__
        rows = [
            (f"`{name}`", value(field), _field_default(config, name, field), described.get(name, ""))
            for name, field in _properties(config).items()
            if name not in inherited
        ]
        yield from _table(("setting", "value", "default", "meaning"), rows)


def _field_default(config: Any, name: str, field: Mapping[str, Any]) -> str:
    required = [each.name for each in msgspec.structs.fields(config) if each.required]
    return "required" if name in required else code(field["default"]) if "default" in field else ""


def _described(field: Mapping[str, Any]) -> str:
    options = field.get("anyOf", [field])
    return next((each["description"] for each in options if "description" in each), value(field))


def _properties(config: Any) -> dict[str, Any]:
    found = msgspec.json.schema(config)
    properties: dict[str, Any] = found["$defs"][config.__name__]["properties"]
    return properties


def _args(doc: str) -> dict[str, str]:
    """Name -> description, from the `Args:` of a docstring."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(doc).partition("Args:\n")[2].splitlines():
        start = re.match(r"    (\w+(?:, \w+)*): (.*)", line)
        if start:
            names = start[1].split(", ")
            found.update(dict.fromkeys(names, start[2]))
        elif line.startswith("     "):
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
        else:
            break
    return found


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes\n"
    rows = [("0", "done; a batch: every row was written without a failure")]
    rows += [(str(number), meaning) for number, meaning in output.EXIT_CODES.values()]
    yield from _table(("code", "meaning"), rows)
    yield _NOTES


def _variables() -> Iterator[str]:
    yield "## Environment variables\n"
    yield from _table(("variable", "meaning"), [(f"`{name}`", text) for name, text in VARIABLES.items()])


def _schemas() -> Iterator[str]:
    yield "## JSON schemas\n"
    yield "The files are in `recipes/virc/core/schemas/`; `virc data show --schema batch` prints one.\n"
    yield "[Chat protocol](chat-protocol.md) lists the fields of `virc_protocol.json`.\n"
    for file in sorted(SCHEMAS.glob("*.json")):
        schema = json.loads(file.read_text(encoding="utf-8"))
        yield f"### {schema['title']}\n"
        yield schema["description"] + "\n"
        required = dict.fromkeys(schema["required"], "yes")
        rows = [
            (f"`{name}`", _kinds(field), required.get(name, ""), field.get("description", ""))
            for name, field in schema["properties"].items()
        ]
        yield from _table(("field", "type", "required", "meaning"), rows)


def _kinds(field: Mapping[str, Any]) -> str:
    """The types that a field takes."""
    if "const" in field:
        return code(field["const"])
    if "enum" in field:
        return ", ".join(map(code, field["enum"]))
    if "$ref" in field:
        return str(field["$ref"].rpartition("/")[2])
    options = field.get("anyOf") or field.get("oneOf")
    if options:
        return " or ".join(dict.fromkeys(map(_kinds, options)))
    kinds = field.get("type", "any")
    return str(kinds) if isinstance(kinds, str) else " or ".join(kinds)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    yield from ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    yield ""


def _prose(text: str) -> str:
    r"""A help text as Markdown: paragraphs on one line; what Click keeps as it is (\b) as code."""
    paragraphs = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            paragraphs.append("<!-- not run: from the help -->\n```text\n" + paragraph.removeprefix("\b\n") + "\n```")
        else:
            paragraphs.append(" ".join(paragraph.split()))
    return "\n\n".join(paragraphs)
