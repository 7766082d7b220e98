"""`virc mcp`: tools to look at pictures, for any agent that speaks the Model Context Protocol."""

from typing import TYPE_CHECKING, Annotated

import typer

from virc.config.options import AskOptions
from virc.core.errors import UsageError
from virc_cli.console import events, options, output
from virc_cli.console.asking import Asked, asking
from virc_cli.console.options import flag, option

if TYPE_CHECKING:
    from virc.solving.setup import Setup


@asking(AskOptions, model=options.Model)
def command(
    asked: Asked,
    context: typer.Context,
    folder: Annotated[list[str] | None, option("DIR", "Clients may name pictures in it; repeatable.")] = None,
    http: Annotated[str | None, option("HOST:PORT", "Serve over HTTP. Default: over stdio, to one client.")] = None,
    api_key: Annotated[
        str | None,
        option(
            "env:NAME|file:PATH|KEY",
            "--http: clients must send this key.",
            envvar="VIRC_SERVE_KEY",
            show_envvar=True,
            callback=options.read_key,
        ),
    ] = None,
    concurrency: Annotated[int | None, option("N", "Questions at a time. Default: by server.", min=1, max=1024)] = None,
    max_result: Annotated[int | None, option("N", "Characters of a result. Default: 950,000.", min=10_000)] = None,
    no_structured: Annotated[bool, flag("--no-structured", "Send no structuredContent with pictures.")] = False,
    verbose: options.Verbose = False,
) -> None:
    """Serve tools for pictures to agents (MCP).

    Tools: ask, crop, scale, show, evaluate, trace. The agent names pictures in the folders that you name, or sends
    them; no other file is read. The model is loaded at the first question.
    """
    from contextlib import redirect_stdout

    from virc.config import user
    from virc_extras.mcp.start import McpRequest, check_model, serve

    def setup() -> "Setup":
        from virc.solving.setup import set_up

        return set_up(asked.flags)

    source = context.get_parameter_source("api_key")
    if http is None and source is not None and source.name == "COMMANDLINE":  # the variable may be set for others
        raise UsageError("--api-key belongs to --http: one client over stdio needs no key", "--http 127.0.0.1:8000")
    values = user.values(user.chosen(asked.flags))
    check_model(values.model, values.endpoint, values.system)
    request = McpRequest(
        setup=setup, folders=folder or (), offline=asked.offline, http=http, api_key=api_key, concurrency=concurrency,
        max_result=max_result, structured=not no_structured,
    )  # fmt: skip
    output.ends_when_stopped("the MCP server has ended")
    # over stdio the protocol has stdout, and the SDK itself keeps others from it
    with events.printed(asked.quiet, verbose) as report, redirect_stdout(output.stdout()):
        serve(request, report, output.note)
