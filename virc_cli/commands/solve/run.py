"""Prints what solving a problem gives."""

import gc
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from virc.core.events import Reporter
from virc.core.text import plain
from virc.models.costs import amount
from virc.models.load import Opened
from virc.reasoning.grammar import TAGS
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Rejected, Unit
from virc.reasoning.trace import CallResult
from virc.solving.api import solve_images
from virc.solving.image_source import Unfolded
from virc.solving.one import Event, GradeGiven, Notice, SampleStart, TextDelta, ToolResult
from virc.solving.outcome import PAGE
from virc.solving.setup import Setup
from virc.solving.solution import Solution
from virc.solving.solver import SolverSetup
from virc.solving.traces.continuing import Conversation
from virc.solving.traces.page import in_words
from virc_cli.commands.solve.thoughts import MarkedThoughts, Thoughts
from virc_cli.console import output


def solved(
    setup: Setup | SolverSetup, sources: Sequence[str], question: str, report: Reporter, quiet: bool,
    verbose: bool, former: Conversation | None = None,
    on_pictures: Callable[[Sequence[Unfolded]], bool] = lambda _: True,
) -> Solution:  # fmt: skip
    def on_facts(known: Mapping[str, object]) -> None:
        output.know(**known)

    if not isinstance(setup, Setup):
        on_step = (lambda *_: None) if quiet else _print_step
        return setup.solve_images(sources, question, report, on_facts=on_facts, on_step=on_step)
    narrator = Narrator(verbose=verbose)

    def on_open(opened: Opened) -> None:
        narrator.use(opened.chat_protocol)
        gc.freeze()  # libraries and model stay to the end: no collection, nor that at the exit, has to go through them

    on_event = (lambda _: None) if quiet else narrator
    calls: dict[str, Any] = {"on_facts": on_facts, "on_open": on_open, "on_event": on_event, "on_pictures": on_pictures}
    try:
        return solve_images(setup, sources, question, report, former=former, **calls)
    finally:
        narrator.end()


def note_trace_and_cost(solution: Solution, report: Reporter) -> None:
    if solution.trace:
        report.note(f"the trace is in {solution.trace / PAGE}")
    if (cost := solution.fields.get("cost")) is not None:
        report.note(f"cost {amount(cost)}")


def _print_step(name: str, texts: Sequence[str]) -> None:
    output.note(f"-> {name}: ", end="")
    output.note("; ".join(map(one_line, texts)), dim=True)


def one_line(answer: str) -> str:
    """An answer as one line: its line ends become spaces, nothing else changes."""
    return re.sub(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", " ", answer)


class Narrator:
    """Prints the events of a problem on stderr: thoughts, dim where there is colour, and tool calls in words."""

    def __init__(self, protocol: Protocol | None = None, verbose: bool = False) -> None:
        self._verbose = verbose
        self._line = ""  # what the current line of stderr holds
        self.use(protocol)

    def use(self, protocol: Protocol | None) -> None:
        self._grammar = protocol.grammar if protocol else TAGS
        is_lenient = protocol is not None and protocol.reading == "lenient"
        self._marks_none = is_lenient or (self._grammar.think is None and self._grammar.answer is None)
        self._thoughts = self._fresh()

    def __call__(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self._print(self._thoughts.feed(event.text))
            return
        if isinstance(event, ToolResult):  # its unit was printed
            return
        if isinstance(event, Unit):
            self._print(self._thoughts.rest(event.think))
        self._thoughts = self._fresh()
        self.end()
        if isinstance(event, SampleStart):
            if event.total > 1:
                output.note(f"-- sample {event.number} of {event.total}")
        elif isinstance(event, Notice):
            output.note(f"-> {event.text}")
        elif isinstance(event, GradeGiven):
            grade = "no grade" if event.value is None else f"graded {event.value:g}"
            output.note(f"-> {grade}{f': {plain(event.remark, 200)}' if event.remark else ''}")
        elif isinstance(event, Rejected):
            output.note(f"-> this reply cannot be used: {event.reason}")
            if self._verbose:
                output.note(event.text, dim=True)
        else:
            for result in event.results:
                output.note(f"-> {_in_words(result)}")
            if self._verbose:
                output.note(f"   {event.prompt_tokens} prompt tokens, {event.completion_tokens} new", dim=True)

    def _fresh(self) -> Thoughts | MarkedThoughts:
        return MarkedThoughts() if self._marks_none else Thoughts(self._grammar)

    def end(self) -> None:
        if self._line:
            output.note("")
            self._line = ""

    def _print(self, text: str) -> None:
        text = re.sub(r"\n\s*", "\n", text)
        if not self._line:
            text = text.lstrip()
        if text:
            output.note(text, end="", dim=True)
            self._line = text if "\n" not in text else text.rpartition("\n")[2]


def _in_words(result: CallResult) -> str:
    call = in_words(result.call) if result.call else "a call that cannot be carried out"
    images = "".join(f", image {index}" for index in result.images)
    said = plain(result.text if result.error is None else result.reason or result.error, 120)
    if result.reason not in (None, result.error):
        said += f"; the model is told {plain(result.error, 120)!r}"
    return ": ".join(filter(None, (call, images.removeprefix(", "), said)))
