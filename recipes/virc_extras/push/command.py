"""`virc push`: publishes a model or rows on the hub."""

import re
from typing import TYPE_CHECKING, Annotated

from virc.core.text import counted, sized
from virc_cli.console import completion, events, output
from virc_cli.console.options import IgnoredFiles, Json, Quiet, Verbose, argument, flag
from virc_cli.console.tables import folded

if TYPE_CHECKING:
    from virc_extras.push.publish import PushPlan

FAILURE: dict[str, object] = dict.fromkeys("to url kind private files bytes left_out card commit".split())


def command(
    source: Annotated[
        str,
        argument(
            "RUN|MODEL|ROWS", "Merged run, model, GGUF file, or folder of rows.", autocompletion=completion.models
        ),
    ],
    hub_id: Annotated[str, argument("HUB_ID", "OWNER/NAME on the hub.")],
    public: Annotated[bool, flag("--public", "Let everybody read it; default: private.")] = False,
    ignore: IgnoredFiles = None,
    dry_run: Annotated[bool, flag("--dry-run", "Print files and card; send nothing.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Upload a model or rows to the hub, with a card.

    Of a model, the weights, GGUF files, settings, tokenizer, chat protocol, licences and own tools are uploaded; of
    rows, their files and images. What else is in the folder is left out, and so is each absolute path in settings; a
    file with a key or a path of this machine is refused. The card is README.md with what `virc eval` measured here,
    and how to use the model from the hub.

    HF_TOKEN or `hf auth login` gives the token, which must be allowed to write. The same command continues an upload
    that was interrupted.
    """
    from virc.systems import texts
    from virc_extras.push import publish

    plan = publish.prepare(source, hub_id, public, ignore or ())
    if texts.NO_LICENSE in plan.card:
        output.warn("it holds texts that only their authors may pass on, as they state no license: see its card")
    if public and not re.search(r"(?m)^license(_name)?:", plan.card):
        output.warn("its card names no license, so nobody may use it: write `license: NAME` into the head of README.md")
    known = _fields(plan)
    output.know(**known)
    if dry_run:
        output.result(as_json, "virc.push/1", {**known, "commit": None}, _table(plan))
        return
    for name, why in plan.left_out.items() if not quiet else ():
        output.note(f"left out: {name} ({why})")
    try:
        with events.printed(quiet, verbose) as report:
            commit = publish.upload(plan, report.send)
    except KeyboardInterrupt:
        output.note("whole files that were uploaded are kept: the same command continues")
        raise
    output.result(as_json, "virc.push/1", {**known, "commit": commit}, [plan.repo.url])
    if not (quiet or as_json):
        who = "public" if plan.public else "private"
        output.note(f"{counted(len(plan.files), 'file')}, {sized(plan.size)}, {who}; its card is README.md there")


def _fields(plan: "PushPlan") -> dict[str, object]:
    return {
        "to": plan.repo.id, "url": plan.repo.url, "kind": plan.repo.kind, "private": not plan.public,
        "files": [{"name": file.name, "bytes": file.size} for file in plan.files],
        "bytes": plan.size, "left_out": plan.left_out, "card": plan.card,
    }  # fmt: skip


def _table(plan: "PushPlan") -> list[str]:
    rows = [(file.name, sized(file.size), "") for file in plan.files]
    rows += [(name, "-", f"left out: {why}") for name, why in plan.left_out.items()]
    whole = f"{sized(plan.size)} to {plan.repo.url}, {'public' if plan.public else 'private'}"
    return [*folded([("file", "size", ""), *rows], output.stdout()), whole, "", *plan.card.splitlines()]
