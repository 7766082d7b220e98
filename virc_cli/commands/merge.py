"""`virc merge`: makes a model of a checkpoint, to load, serve and publish."""

from pathlib import Path
from typing import Annotated

from virc_cli.console import completion, events, output
from virc_cli.console.options import IgnoredFiles, Json, Quiet, Verbose, argument, flag, option

FAILURE: dict[str, object] = dict.fromkeys("to source kind step parameters protocol answer gguf left".split())


def command(
    source: Annotated[
        str, argument("RUN|CHECKPOINT", "Run, RUN@STEP, folder of shards, or adapter.", autocompletion=completion.runs)
    ],
    to: Annotated[Path | None, option("DIR", "New folder for the model; default: models/RUN.")] = None,
    gguf: Annotated[bool, flag("--gguf", "Write the model for llama.cpp, too.")] = False,
    ignore: IgnoredFiles = None,
    dry_run: Annotated[bool, flag("--dry-run", "Print command and environment; write nothing.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Make a model of a checkpoint, and print its folder.

    The model has one set of weights, a tokenizer, the chat protocol and a card. Of a run, the newest checkpoint is
    merged. Shards are merged in the environment `rl`, an adapter is added to its base in this one; no code of a
    checkpoint is run. At the end the model answers a question about a drawn diagram. --gguf also writes the model and
    its vision tower as the two files that llama.cpp reads: Q8_0 and float16, of a small model float32.
    """
    from virc.merging import build
    from virc_cli.console import plans

    plan = build.prepare(source, to, gguf, ignore or ())
    origin, folder = plan.source.origin, str(plan.folder)
    known = {"to": folder, "source": origin.source, "kind": origin.kind, "step": origin.step}
    left = plan.left.fields()
    output.know(**known)
    if dry_run:
        process = plan.process(plan.folder)
        if as_json:
            fields = {"to": folder, "source": origin.source, "kind": origin.kind, "left": left}
            output.emit("virc.merge.plan/1", {**fields, "plan": plans.fields(process) if process else None})
        elif process:
            plans.show(process)
        else:
            output.line(f"# the weights of {plan.source.folder} are copied to {plan.folder}")
        return
    with events.printed(quiet, verbose) as report:
        merged = build.write(plan, report.send)
    trained = plan.source.chat_protocol and "trained"
    made = {"parameters": merged.parameters, "protocol": trained, "answer": merged.answer}
    gguf_file = merged.gguf and str(merged.gguf)
    output.result(as_json, "virc.merge/1", {**known, **made, "gguf": gguf_file, "left": left}, [folder])
    if not (quiet or as_json):
        publish = f"to publish it: virc push {folder} USER/{plan.folder.name.replace('@', '-')}"
        output.note(f"{merged.parameters:,} parameters; {publish}")
        if merged.gguf:
            output.note(f"for llama.cpp: virc solve --model {merged.gguf} IMAGE 'QUESTION'")
