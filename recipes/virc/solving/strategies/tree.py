"""A search over turns: several ways on from each of the best unfinished solutions, which are graded as they grow.

Level by level, `width` next turns are drawn for each solution that is kept, and the `keep` best of all are kept,
finished ones among them; the search ends when all that is kept is finished. After `depth` levels, what is kept and not
finished is drawn to its end without branching. The answer is the one with the best grade, the earlier of two.

A node is a turn of a `Session`: a thought with its tool calls, or an answer. Published as Tree of Thoughts, by breadth
(Yao et al. 2023, arXiv 2305.10601): its scripts draw 5 ways on and keep 1 for texts, and keep 5 for arithmetic of 4
steps (princeton-nlp/tree-of-thought-llm, `scripts/text/bfs.sh` and `scripts/game24/bfs.sh`). The defaults are those for
texts. Searches by visits, as those of VReST (arXiv 2506.08691) and ReST-MCTS* (arXiv 2406.03816), are not built.
"""

import copy
from collections.abc import Container, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from virc.core.errors import NoAnswerError, VircError
from virc.reasoning.history import History
from virc.reasoning.session import Ask, Session
from virc.solving import one
from virc.solving.one import Attempt, SampleStart, Solved, Spent, ends_all
from virc.solving.sampling.asking import Asking, Graded
from virc.solving.sampling.grading import TRIES, Graders, MakeGrader


def branch(session: Session) -> Session:
    """A session in the same state, which goes on by itself.

    Values that tools keep for the problem are replaced by their calls, never changed, so both may go on. What a tool
    does outside of the session, such as at a server, is done for both.
    """
    other = copy.copy(session)
    for name, value in vars(session).items():
        if isinstance(value, list | dict | History):
            setattr(other, name, value.copy())
    return other


class Options(msgspec.Struct, frozen=True):
    """Options.

    Args:
        width: ways on that are drawn from each solution.
        keep: solutions that are kept of each level.
        depth: levels that branch.
        value: what grades: `endpoint`, the judge, or without one the model itself; or `reward`, that of a system.
        calls: replies in all, grades too; the search never goes beyond.
        reward, term: as of `best_of`.
    """

    width: Annotated[int, Meta(ge=1, le=100)] = 5
    keep: Annotated[int, Meta(ge=1, le=100)] = 1
    depth: Annotated[int, Meta(ge=1, le=100)] = 8
    value: Literal["endpoint", "reward"] = "endpoint"
    calls: Annotated[int, Meta(ge=1, le=100_000)] = 200
    reward: str | None = None
    term: str | None = None


def samples(options: Options) -> int:
    return options.width * options.keep


def grades(options: Options, graders: Graders) -> MakeGrader | None:
    return graders.maker(options.value, options.reward, options.term)


def solve(asking: Asking, options: Options) -> Solved:
    return _Search(asking.keeping_images(), options).solved()


class _OverError(Exception):
    """No further reply may be asked for."""


class _Node(msgspec.Struct):
    session: Session
    number: int
    grade: Graded | None = None
    broken: BaseException | None = None

    @property
    def is_open(self) -> bool:
        return isinstance(self.session.next(), Ask)

    @property
    def answer(self) -> str | None:
        return self.session.trace().answer

    @property
    def value(self) -> float | None:
        return self.grade.value if self.grade else None

    @property
    def rank(self) -> tuple[float, int]:
        return (float("-inf") if self.value is None else self.value, -self.number)

    @property
    def attempt(self) -> Attempt:
        """It as a sample; what it took is counted by the search, as solutions share turns."""
        return Attempt(self.session.trace(), self.session.images, broken=self.broken)


class _Search:
    def __init__(self, asking: Asking, options: Options) -> None:
        self._asking, self._options = asking, options
        self._spent, self._count, self._is_over = Spent(), 0, False
        root = one.session_of(asking.config, asking.backend, asking.protocol, asking.images, asking.question)
        self._open = [_Node(root, 0)]  # of this level, and those that they come from
        self._answered: list[_Node] = []
        self._lost: list[_Node] = []  # ended without an answer

    def solved(self) -> Solved:
        error: BaseException | None = None
        try:
            self._search()
            for node in self._answered if len(self._answered) > 1 else ():
                self._grade(node)
        except _OverError:
            self._is_over = True
        except (VircError, KeyboardInterrupt) as broken:
            error = broken
        return self._chosen(error)

    def _search(self) -> None:
        kept = list(self._open)
        for _ in range(self._options.depth):
            if not any(node.is_open for node in kept):
                return
            kept = self._best([node for each in kept for node in self._next(each)])
            self._open = [node for node in kept if node.is_open]
        for node in kept:
            if node.is_open:
                self._drawn(node, None)

    def _next(self, node: _Node) -> list[_Node]:
        """The ways on from a solution, of which none is there twice; a finished one stays."""
        if not node.is_open:
            return [node]
        found: dict[str, _Node] = {}
        for _ in range(self._options.width):
            child = self._drawn(node, 1, found)
            if child.is_open or child.answer is not None:
                found.setdefault(_last(child), child)
        return [*found.values()]

    def _drawn(self, node: _Node, turns: int | None, known: Container[str] = ()) -> _Node:
        """A solution that goes on from another by `turns` turns; None: to its end. One of `known` is only returned."""
        self._check()
        asking, session = self._asking, branch(node.session)
        self._count += 1
        asking.on_event(SampleStart(self._count, self._most, "branch"))

        def may_ask() -> None:
            self._check(1 + len(sampler.replies))

        sampler = one.Sampler(
            asking.backend, asking.config, ("tree", self._count), asking.deadline, asking.on_event, may_ask
        )
        child = _Node(session, self._count)
        try:
            child.broken = sampler.turns(session, turns)
        finally:
            self._spent += one.spent_on(sampler.replies)
        if child.is_open and _last(child) not in known:
            self._open.append(child)
        elif child.answer is not None and _last(child) not in known:
            self._answered.append(child)
        elif not child.is_open and child.answer is None:
            self._lost.append(child)
        if child.broken and ends_all(child.broken):
            raise child.broken
        return child

    def _best(self, nodes: Sequence[_Node]) -> list[_Node]:
        if len(nodes) <= self._options.keep:
            return list(nodes)
        for node in nodes:
            self._grade(node)
        if all(node.value is None for node in nodes):
            why = next(node.grade.why for node in nodes if node.grade)
            raise NoAnswerError(f"no solution of {len(nodes)} could be graded: {why}")
        return sorted(nodes, key=lambda node: node.rank, reverse=True)[: self._options.keep]

    def _grade(self, node: _Node) -> None:
        if node.grade is None:
            self._check(TRIES if self._options.value == "endpoint" else 0)
            node.grade = self._asking.grade(node.attempt)
            self._spent += node.grade.spent

    def _check(self, replies: int = 1) -> None:
        if self._spent.replies + replies > self._options.calls:
            raise _OverError

    @property
    def _most(self) -> int:
        options = self._options
        return options.width * (1 + options.keep * (options.depth - 1)) + options.keep

    def _chosen(self, error: BaseException | None) -> Solved:
        ranked = sorted(self._answered, key=lambda node: node.rank, reverse=True)
        for node in self._open:
            node.session.stop("turns", "the search went another way, or has asked for all its replies")
        others = [*self._lost, *sorted(self._open, key=lambda node: node.number, reverse=True)]
        shown = [*ranked, *others][: samples(self._options)]
        if error is None and not ranked:
            error = self._without_answer(others)
        return Solved(
            [node.attempt for node in shown],
            answer=None if error else ranked[0].answer,
            error=error,
            choices=self._asking.choices,
            chosen=None if error else 0,
            scores=[node.value for node in shown],
            remarks=[node.grade.remark if node.grade else None for node in shown],
            overhead=self._spent,
        )

    def _without_answer(self, others: Sequence[_Node]) -> BaseException:
        broken = next((node.broken for node in self._lost if node.broken), None)
        if broken and all(node.broken for node in self._lost):
            return broken
        if self._is_over:
            number = self._options.calls
            return NoAnswerError(f"no answer within {number} replies", f"calls={2 * number} of the strategy")
        return one.no_answer([node.attempt for node in others])


def _last(node: _Node) -> str:
    texts = node.session.trace().replies.texts
    return texts[-1] if texts else ""
