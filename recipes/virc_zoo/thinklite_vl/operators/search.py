"""Measure how hard a row is: iterations of a tree search until a solution is right.

A node is a solution up to some step. An iteration goes down from the root by UCB, mean + c * sqrt(ln(visits of the
parent) / visits), where a node without a visit comes first; draws `children` next steps below the leaf, takes one of
them at random, and lets the model write on to the end. The first right solution ends the search. A row gets the columns
`iterations`, null where none of `limit` found a solution, `steps`, those of the solution, and `drawn`, the steps that
the model wrote in all.

Source: si0wang/ThinkLite-VL@37fb148, mcts.py, with its numbers, which are the defaults here. Its column `iters` counts
from 0, here from 1; it writes no row that was not solved, and its paper keeps those and the rows above 5. There a
language model judges solutions; here the answer is compared by rule. There two worked examples come before the
question; here a sentence says how steps are written.
"""

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Annotated

import msgspec
from msgspec import Meta

from virc.backends.interface import Sampling
from virc.core.seeds import derived
from virc.data.sample.rollouts import problem_of
from virc.reasoning.trace import Message
from virc.scoring.answers import extract
from virc_extras.make.asking import pictures, reply
from virc_extras.make.operator import Made, Means, Row, kept, left_out
from virc_extras.pipelines.speaking import Role
from virc_extras.pipelines.turns import fill

ROLES = {"model": Role(temperature=0.5)}
_END, _LAST = "<end>", "Final Answer:"
_PROMPT = (
    "Answer the question step by step. Write each step as `### Step N: ...` and end it with <end>. Write the last one "
    "as `### Final Answer: The answer is: \\boxed{...}` and end it with <end>.\nQuestion: {question}\n"
)


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it is searched.

    Args:
        limit: most iterations.
        c: weight of the exploration in UCB.
        children: next steps that are drawn below a leaf.
        depth: most steps of a solution.
        above: leave out rows that were solved within so many iterations; ThinkLite-VL: 6, its 5 from 0.
        unsolved: keep rows that were not solved, too.
        temperature: of each step.
        top_p: of each step.
        max_tokens: of each step.
        prompt: with {question} in it.
    """

    limit: Annotated[int, Meta(ge=1)] = 50
    c: Annotated[float, Meta(ge=0)] = 1.0
    children: Annotated[int, Meta(ge=1)] = 3
    depth: Annotated[int, Meta(ge=1)] = 10
    above: Annotated[int, Meta(ge=0)] = 0
    unsolved: bool = True
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.5
    top_p: Annotated[float, Meta(gt=0, le=1)] = 0.9
    max_tokens: Annotated[int, Meta(ge=1)] = 2048
    prompt: str = _PROMPT


class Node:
    """A solution up to some step, how often it was visited, and the sum of the values that were found below it."""

    def __init__(self, steps: tuple[str, ...] = (), parent: "Node | None" = None) -> None:
        self.steps, self.parent, self.children = steps, parent, list[Node]()
        self.visits, self.value = 0, 0.0

    def score(self, c: float) -> float:
        """Its mean and what is added for few visits; infinite without a visit."""
        if self.parent is None or self.visits == 0:
            return math.inf
        return self.value / self.visits + c * math.sqrt(math.log(self.parent.visits) / self.visits)


class Found(msgspec.Struct, frozen=True):
    """Result of a search: in which iteration, from 1, a solution was found, its steps, and the tree."""

    iterations: int | None
    steps: tuple[str, ...]
    root: Node


def search(
    options: Options, step: Callable[[Sequence[str]], str], value: Callable[[Sequence[str]], float], random: Random
) -> Found:
    """Search until a solution has the value 1; `value` is of a solution that has ended, 0 to 1."""

    def is_over(steps: Sequence[str]) -> bool:
        return len(steps) >= options.depth or (bool(steps) and _LAST in steps[-1])

    root = Node()
    for number in range(1, options.limit + 1):
        node = root
        while node.children:
            node = max(node.children, key=lambda child: child.score(options.c))
        if not is_over(node.steps):
            node.children = [Node((*node.steps, step(node.steps)), node) for _ in range(options.children)]
            node = random.choice(node.children)
        steps = node.steps
        while not is_over(steps):
            steps = (*steps, step(steps))
        if (found := value(steps)) == 1:
            return Found(number, steps, root)
        above: Node | None = node
        while above:
            above.visits, above.value, above = above.visits + 1, above.value + found, above.parent
    return Found(None, (), root)


def requests(options: Options) -> int:
    """The most replies that a row takes."""
    return options.limit * (options.children + options.depth - 1)


def run(row: Row, means: Means[Options]) -> Made:
    """The row with what the search of its solution took."""
    options, problem, shown = means.options, problem_of(row), pictures(means, "model", row)
    asked = Message("user", fill(options.prompt, question=row.question), tuple(range(len(shown))))
    count = 0

    def step(steps: Sequence[str]) -> str:
        nonlocal count
        count += 1
        said = Message("assistant", "".join(steps), inserted="inline")  # inline: the reply goes on with it
        begun = [Message("assistant", ""), said] if steps else []
        sampling = Sampling(options.temperature, options.top_p, None, options.max_tokens, derived(means.seed, count))
        drawn = reply(means, "model", f"step {count}", [asked, *begun], shown, sampling, stop=[_END])
        before, mark, _ = drawn.text.partition(_END)
        return before + mark

    def value(steps: Sequence[str]) -> float:
        answer = extract(steps[-1].replace(_END, ""), problem.key.choices)
        return float(answer is not None and problem.accepts(answer))

    found = search(options, step, value, means.random)
    if found.iterations is None and not options.unsolved:
        return left_out("unsolved", f"none of {options.limit} iterations found a right solution")
    if found.iterations is not None and found.iterations <= options.above:
        return left_out("too easy", f"it was solved in iteration {found.iterations}")
    solution = [each.removesuffix(_END).strip() for each in found.steps]
    return kept({**row.fields, "iterations": found.iterations, "steps": solution, "drawn": count})
