"""`virc eval verify`: whether the file of a result is what its replies give."""

from pathlib import Path
from typing import Annotated

from virc.core.text import plain
from virc_cli.console import completion, options, output
from virc_cli.console.options import argument, option

_FIELDS = "file benchmark model digest score missing unanswered looks differences notes signed"
FAILURE: dict[str, object] = dict.fromkeys(_FIELDS.split())


def command(
    file: Annotated[Path, argument("FILE", "results/MODEL.jsonl of an evaluation.")],
    benchmark: Annotated[
        str | None,
        option(
            "BENCHMARK|FILE.jsonl", "Compare rows with these; default: by name.", autocompletion=completion.benchmarks
        ),
    ] = None,
    column: options.ProblemColumns = None,
    signer: Annotated[str | None, option("KEY", "Who must have signed: SHA256:... or minisign key.")] = None,
    as_json: options.Json = False,
) -> None:
    """Score the file of a result again, from its replies.

    Needs no model, GPU or pictures. Says which replies, verdicts or figures were edited (exit code 6), and which rows
    or verdicts are others here than where it was made (exit code 5). A judge is not asked again.

    A signature is FILE.sig of ssh-keygen or FILE.minisig. Without one, digests show that the file was not changed since
    they were written, not who wrote it.
    """
    import msgspec

    from virc.evaluation.pages.figures import between, shares
    from virc.solving.sources.columns import OF_PROBLEMS, parse_chosen
    from virc_extras.studies.checking.verifying import verify

    found = verify(file, benchmark, signer, parse_chosen(column or (), OF_PROBLEMS))
    fields = msgspec.to_builtins(found)
    output.know(**fields)
    for note in found.notes:
        output.note(note)
    output.note(f"signed: {found.signed}" if found.signed else "not signed")
    found.check()
    if as_json:
        output.emit("virc.eval.verify/1", fields)
        return
    score = found.score
    names = f"{plain(found.model)} on {plain(found.benchmark)}"
    output.line(f"{names}: {shares(score)} ({between(score.interval)}) of {score.of}; {found.uncounted}")
    if found.looks:
        output.line(f"on looking: {plain(found.looks, 400)}")
    output.line(f"replies, verdicts and figures agree; SHA-256 {plain(found.digest)}")
