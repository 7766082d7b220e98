"""`virc systems check`: what is wrong with a system's YAML, and how it reads replies."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from virc.core.errors import ConfigError, DataError, UsageError
from virc_cli.console import output
from virc_cli.console.options import Json, argument, option
from virc_extras.authoring.commands.sample_replies import call_line, replies_of

if TYPE_CHECKING:
    from virc_extras.authoring.reply_reading import ReadReply
    from virc_extras.authoring.system_check import Finding

FAILURE: dict[str, object] = {"file": None, "faults": None, "warnings": None, "sent": None, "replies": None}
_SCHEMA = "virc.systems.check/1"


def command(
    system: Annotated[str, argument("FILE|NAME", "A system's YAML, or its name.")],
    reply: Annotated[
        list[str] | None, option("TEXT|FILE", "A reply of its model; repeatable, in order.", "--reply")
    ] = None,
    size: Annotated[str, option("WxH", "Pixels of the picture that --reply is about.")] = "1024x768",
    as_json: Json = False,
) -> None:
    """List a system's faults, or show how it reads replies.

    Faults are unknown keys, wrong values, and stages and overlays that do not fit together. Where there are none, its
    reward is loaded, and the system's own tools are run on a blank picture: a tool's server that fails the call is a
    fault, one that cannot be reached a warning. `virc rewards try` scores rows by the reward. Nothing is fetched:
    weights and rows need not be there. Exit code 3 if there are any faults.

    With --reply: the thought, the tool calls or the answer of each reply, or why it is not read (exit code 5), and
    what would be sent next. The system's own tools are loaded and run on a blank picture.

    Of a pipeline, FILE.py, the roles and the function are checked.
    """
    from virc.core.files import expanded
    from virc.core.module_files import warn_not_copied
    from virc.solving.solver import pipelines
    from virc.systems import registry as systems
    from virc_extras.authoring.system_check import MAX_LISTED, system_faults

    replies = replies_of(reply)
    if system.endswith(".py"):
        output.know(file=system)
        if replies:
            raise UsageError(f"{system} is a pipeline, without replies to read", "leave --reply out")
        pipelines().check(system)
        _without_faults(system, [], " in the pipeline", as_json)
        return
    file = expanded(system) if systems.is_path(system) else systems.get(system).file
    findings = system_faults(file, run_code=not replies)
    warn_not_copied(output.warn)
    warned = [each for each in findings if not each.certain]
    findings = [each for each in findings if each.certain]
    output.know(file=str(file), faults=_fields(findings), warnings=_fields(warned))
    for each in warned:
        output.warn(f"{file}:{each.line}: {each.message}", each.hint)
    for found in () if as_json else findings:
        output.line(f"{file}:{found.line}: {found.message}" + (f"; {found.hint}" if found.hint else ""))
    if findings:
        count = f"{'at least ' * (len(findings) == MAX_LISTED)}{len(findings)}"
        raise ConfigError(f"{file} has {count} fault{'s' * (len(findings) > 1)}")
    if replies:
        _read(file, replies, _sides(size), as_json)
        return
    _without_faults(str(file), warned, "", as_json)


def _without_faults(file: str, warned: "list[Finding]", where: str, as_json: bool) -> None:
    if as_json:
        output.emit(_SCHEMA, {**FAILURE, "file": file, "faults": [], "warnings": _fields(warned)})
    else:
        output.note(f"{file}: no fault found{where}")


def _fields(findings: "list[Finding]") -> list[dict[str, Any]]:
    return [
        {"line": each.line, "where": ".".join(each.path), "message": each.message, "hint": each.hint}
        for each in findings
    ]


def _sides(size: str) -> tuple[int, int]:
    width, _, height = size.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and 1 <= int(width) <= 9999 and 1 <= int(height) <= 9999):
        raise UsageError(f"--size {size[:40]!r} is not WxH, in pixels from 1 to 9999", "--size 1024x768")
    return int(width), int(height)


def _read(file: Path, replies: list[str], size: tuple[int, int], as_json: bool) -> None:
    """Print how each reply is read; raises DataError where one is not."""
    import msgspec

    from virc.families import registry as families
    from virc.models.chat_protocol import of_system
    from virc.solving import reading
    from virc.systems import registry as systems
    from virc_extras.authoring.reply_reading import read_replies

    system = systems.load(file)
    protocol, grid = of_system(system), families.of_system(system).grid
    try:
        opening = reading.opening(protocol, size, grid)
    except ValueError as error:
        raise UsageError(f"--size: {error}") from None
    read = list(read_replies(replies, protocol, size, grid))
    output.know(sent=msgspec.to_builtins(opening), replies=msgspec.to_builtins(read))
    for number, each in enumerate(() if as_json else read, 1):
        output.lines(_lines(number, each))
    faults = [number for number, each in enumerate(read, 1) if each.fault is not None]
    if faults:
        which = ", ".join(map(str, faults))
        hint = "the page *Grammars* shows each form"
        raise DataError(f"reply {which} is not read: {read[faults[0] - 1].fault}", hint)
    if as_json:
        known = {"file": str(file), "faults": [], "sent": msgspec.to_builtins(opening)}
        output.emit(_SCHEMA, {**FAILURE, **known, "replies": msgspec.to_builtins(read)})


def _lines(number: int, reply: "ReadReply") -> Iterator[str]:
    parts: list[tuple[str, str | None]] = [("thought", reply.thought or None)]
    parts += [("call", call_line(each)) for each in reply.calls]
    parts += [("answer", reply.answer), ("fault", reply.fault), ("the end", reply.failure)]
    parts += [(f"then {each.role}", each.text) for each in reply.sent]
    yield f"reply {number}"
    for name, text in parts:
        if text is not None:
            yield f"  {name:<15}" + text.replace("\n", "\n" + " " * 17)
