"""Find terms of a reward that have the same value for every reply, by scoring replies of many kinds on some rows.

`rolled` makes for each row the rollouts to score, from the replies that `tries` lists; `scores` scores them; `findings`
says which terms, or whether the whole reward, had one value for all of them, or none.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

import msgspec

from virc.core.errors import ConfigError, DataError, SetupError
from virc.data.convert.change import Change, Target, change_for, changed, question_with_choices
from virc.data.formats.registry import Source, get
from virc.data.rows.record import Record, inputs_of
from virc.models.chat_protocol import needs_picture
from virc.reasoning.bodies import INDEX
from virc.reasoning.calls import Size
from virc.reasoning.coordinates import sides_of
from virc.reasoning.messages import FormatError, Turn
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import Grid
from virc.reasoning.session import Done, Rejected, Reply, Session
from virc.reasoning.writing import written
from virc.rewards import rollouts, trial, user_code
from virc.rewards.means import JUDGE, NO_ALGEBRA, NO_TOKENS, Means
from virc.rewards.registry import Scored, Term, Total
from virc.rewards.rollouts import Rollout
from virc.rewards.sample import Prompt, Sample, Seen, sample
from virc.rewards.scripted import ExtremeJudge
from virc.scoring.boxes import Box, boxes_of_row
from virc.scoring.symbolic import Symbolic
from virc.solving.reading import MIDDLE, Shares, examples
from virc.systems.registry import Reward
from virc.tools import registry as tools

ROWS = 4
"""Number of rows that replies are scored on."""
_MAX_TURNS = 4
_MAX_BOXES = 2
_MAX_GROUPS = 4
_FOUND: Size = (560, 420)
"""(width, height) in pixels of a picture that calls are about where the question has none."""

Rolled = tuple[str, Sequence[Sample]]
"""The kind of a rollout in a few words, such as "wrong answers", and its replies."""

_SHORT = "I look at the picture."
_LONG = " ".join(f"Step {number} reads {number * 7} off it." for number in range(1, 160))
_SAME = "It is so, as it is so, for it is so, and it is so."
_THOUGHTS = (_SHORT, _LONG, _SAME, "")
_WRONG = ("0", "none of these", "(1, 1, 2, 2)", "[1, 1, 2, 2]")
_CORNER: Shares = (0.02, 0.02, 0.1, 0.1)
_WHOLE: Shares = (0.0, 0.0, 1.0, 1.0)
_NO_IMAGE = 99


class Finding(msgspec.Struct, frozen=True):
    """One fault of a reward: what is wrong, and what to do.

    Args:
        certain: it is wrong whatever is replied; else it may be a matter of the replies that were tried.
        term: the term that it is of; None: all of the reward.
        of_row: the rows lack something.
    """

    message: str
    hint: str | None
    certain: bool
    term: str | None = None
    of_row: bool = False


class Scores(msgspec.Struct):
    """The scores of all replies that were tried.

    Args:
        scored: the kind of each reply in a few words, and its score.
        rows: numbers of the rows that were tried.
        skipped: why other rows could not be tried.
        judged: whether a term asked a judge; each reply then has two scores, by the best and the worst verdicts.
    """

    scored: list[tuple[str, Scored]] = []
    rows: list[int] = []
    skipped: list[DataError] = []
    judged: bool = False

    def __str__(self) -> str:
        judges = ", with judges that say the best and the worst" * self.judged
        rows = f"row{'s' * (len(self.rows) > 1)} {', '.join(map(str, self.rows))}"
        return f"the {len(self.scored)} replies tried on {rows}{judges}"

    @property
    def hint(self) -> str:
        return f"tried: {', '.join(dict.fromkeys(about for about, _ in self.scored))}"


class _EqualTexts(Symbolic):
    """Compares answers as texts, in place of algebra, for which a process would be started."""

    def __init__(self) -> None:
        pass

    def same(self, answer: str, reference: str) -> bool:
        return answer.strip() == reference.strip()

    def close(self) -> None:
        pass


def scores(rows: Iterator[tuple[int, Iterator[Rolled]]], total: Total, reward: Reward) -> Scores:
    """Score rollouts with a judge that always gives the best verdict and, if a judge was asked, with the worst."""
    found, of_judges = Scores(), list[Means]()
    for high in (True, False):
        judges = {name: ExtremeJudge(high) for name in (JUDGE, *reward.judges)}
        of_judges.append(Means(judges.pop(JUDGE), _EqualTexts(), _word_hashes, judges))
    try:
        with asyncio.Runner() as runner:
            for number, rolled in rows:
                scored_rollouts = list[Rollout]()
                try:
                    for about, samples in rolled:
                        for means in of_judges:
                            # samples hold the replies of the judge that they were scored with
                            fresh = [msgspec.structs.replace(unit, why={}, asked={}) for unit in samples]
                            scored = runner.run(rollouts.score(fresh, rollouts.ends(fresh[-1]), total, means))
                            found.scored += [(about, unit) for unit in scored.units]
                            every_judge = (means.judge, *means.judges.values())
                            found.judged |= any(isinstance(one, ExtremeJudge) and one.questions for one in every_judge)
                            scored_rollouts.append(scored)
                            if not found.judged:
                                break
                    _check_group(scored_rollouts, total)
                    found.rows.append(number)
                except (DataError, ConfigError) as error:
                    located = type(error)(f"row {number}: {error.message}", error.hint)
                    if isinstance(located, ConfigError):
                        raise located from error
                    found.skipped.append(located)
    finally:
        for means in of_judges:
            means.close()
    return found


def _word_hashes(text: str) -> list[int]:
    """Stands for the token ids of a model's tokenizer, of which there is none here."""
    return [hash(word) for word in text.split()]


def _check_group(scored: Sequence[Rollout], total: Total) -> None:
    """Call the total's `group` with rollouts of one prompt, so that an error of it is raised here.

    Pairs of neighbours are similar replies; rollouts at even distance are of different kinds.
    """
    complete = [(each.total, each.last) for each in scored if each.total is not None and not each.last.known.unscored]
    pairs = [complete[at : at + 2] for at in range(len(complete) - 1)]
    distance = -(-len(complete) // _MAX_GROUPS)  # rounded up
    groups = pairs + [complete[at::distance] for at in range(distance)]
    with suppress(SetupError):  # a rule of `rewards.groups` that cannot be computed here
        for group in groups:
            rollouts.grouped(total, [reward for reward, _ in group], [last for _, last in group])


def rolled(
    source: Source, reward: Reward, protocol: Protocol, grid: Grid, worded: bool
) -> Iterator[tuple[int, Iterator[Rolled]]]:
    if source.format == "rl":
        for number, prompt in trial.prompts(source, reward, ROWS, protocol if worded else None):
            yield number, _units(prompt, protocol)
        return
    own: dict[int, list[Prompt]] = {}
    if source.holds == "solutions":
        with suppress(DataError):  # the problem may be known all the same
            own = dict(trial.solutions(source, reward, ROWS, protocol if source.laid_out else None))
    for number, record in problems(source, ROWS):
        yield number, _whole(record, own.get(number, []), protocol, grid)


def problems(source: Source, most: int) -> Iterator[tuple[int, Record]]:
    format = get(source.format)
    records = (row.record for row in format.read(source) if row.record)
    change: Change = change_for(source, records, (source.holds, "problems"), Target())
    for row in islice(format.read(source), most):
        found = changed(change, row)[0]
        if found.record is None:
            raise found.fault or DataError(f"row {row.number} cannot be read")
        record = found.record
        images = tuple(record.images[at] for at in inputs_of(record) if at < len(record.images))
        question = question_with_choices(record)
        yield row.number, msgspec.structs.replace(record, messages=(), images=images, question=question)


def _units(prompt: Prompt, protocol: Protocol) -> Iterator[Rolled]:
    if prompt.reference is not None:
        yield "the row's own reply", [sample(prompt.reference, prompt)]
    size = prompt.original if prompt.images else (0, 0)
    protocol = prompt.protocol or protocol
    for each in tries(protocol, _answers(prompt.record, protocol, size), size, _shares(_boxes(prompt.record), size)):
        if len(each.replies) == 1:
            yield each.about, [sample(each.replies[0], prompt)]


def _whole(record: Record, own: list[Prompt], protocol: Protocol, grid: Grid) -> Iterator[Rolled]:
    for prompt in own[:1] + own[-1:]:
        yield from _units(prompt, protocol)
    if own:
        yield "the row's own solution", [sample(each.reference or "", each) for each in own]
    if not record.images and needs_picture(protocol):
        raise DataError("it has no image, and no tool of the system returns one")
    images = [Seen(each).pixels().pixels for each in record.images]
    files = [image.size for image in images]
    size = files[0] if files else _FOUND

    def begun() -> Session:
        question, known = record.question or "", tools.known()
        return Session(protocol, question, images, grid, tolerate=(), max_turns=_MAX_TURNS, tools=known)

    for each in tries(protocol, _answers(record, protocol, size), size, _shares(_boxes(record), size)):
        session = begun()
        with suppress(Exception):  # a tool that fails is a fault of its own
            for reply in each.replies:
                if isinstance(session.next(), Done) or isinstance(session.feed(Reply(reply)), Rejected):
                    break
            # as `rollouts.samples_of`, which would open the images for each of a hundred tries
            yield each.about, rollouts.replayed(record, session.trace().replies.texts, begun(), files)


def _boxes(record: Record) -> list[Box]:
    return (boxes_of_row(record.extra) or [])[:_MAX_BOXES]


def _shares(boxes: Sequence[Box], size: Size) -> list[Shares]:
    return [(left / size[0], top / size[1], right / size[0], bottom / size[1]) for left, top, right, bottom in boxes]


def _answers(record: Record, protocol: Protocol, size: Size) -> list[str]:
    """The row's answer, then answers that are its boxes, and one that is a half of the first, in three notations."""
    found = [record.answer or ""]
    across, down = sides_of(size, protocol.coordinates, size)
    shares = _shares(_boxes(record), size)
    halves = [(left, top, (left + right) / 2, bottom) for left, top, right, bottom in shares[:1]]  # IoU of 0.5
    for left, top, right, bottom in (*shares, *halves):
        box = [round(left * across), round(top * down), round(right * across), round(bottom * down)]
        found += [
            json.dumps([{"Position": box, "Confidence": 0.9}]), "({},{}),({},{})".format(*box), json.dumps(box)
        ]  # fmt: skip
    return found


def findings(found: Scores, total: Total, reward: Reward) -> Iterator[Finding]:
    if not found.scored:
        return
    for term in total.terms:
        published = term.file == total.file and not user_code.is_own(term.file)
        yield from _of_term(term, found, reward, published)
    scored = [each for _, each in found.scored]
    totals = {each.total for each in scored if each.total is not None}
    if len(totals) == 1 and len(scored) > 1:
        yield Finding(f"the reward is {totals.pop():g} for all of {found}", found.hint, True)
    elif not totals:
        reasons = dict.fromkeys(why for each in scored for why in each.unscored.values())
        yield Finding(f"no reply is rewarded: {'; '.join(reasons)}", found.hint, True, of_row=True)


def _of_term(term: Term, found: Scores, reward: Reward, published: bool) -> Iterator[Finding]:
    """The finding of one term, if it has one value for all replies.

    Args:
        published: the term is of a published total. It may reward replies that are not tried here, so one value for all
            of them is no finding.
    """
    name, weighed = term.name, bool(reward.weights)
    unscored = {each.unscored[name] for _, each in found.scored if name in each.unscored}
    values = [(about, value) for about, each in found.scored if (value := each.terms.get(name)) is not None]
    if len({value for _, value in values}) > 1 or any(why.startswith((NO_ALGEBRA, NO_TOKENS)) for why in unscored):
        return
    called = f"{'the gate' if name == reward.gate else 'the term'} {name}"
    if not values and unscored:
        message = f"{called} has no value for any of {found}: {'; '.join(sorted(unscored))}"
        yield Finding(message, found.hint, False, name, of_row=True)
    elif not values:
        message = f"{called} applies to none of {found}"
        certain = term.question is not None or (weighed and not user_code.is_own(term.file))
        yield Finding(message, found.hint, certain, name)
    elif len({about for about, _ in values}) > 1 and not published:
        yield Finding(f"{called} is {values[0][1]:g} for all of {found}", found.hint, False, name)


class Try(msgspec.Struct, frozen=True):
    about: str
    replies: tuple[str, ...]


def tries(protocol: Protocol, answers: Sequence[str], size: Size, boxes: Sequence[Shares] = ()) -> list[Try]:
    """Rollouts to try.

    Args:
        answers: the first is the right one.
        size: (width, height) in px of the first image's file.
        boxes: what calls cut out, as shares of the sides.
    """
    right = [
        each
        for number, text in enumerate(answers)
        for each in _answering(protocol, text, _THOUGHTS[: 1 if number else None])
    ]
    wrong = [each for text in _WRONG for each in _answering(protocol, text, (_SHORT,))]
    good, refused = [*_calls(protocol, size, boxes)], [*_refused(protocol, size)]
    found = [Try("the right answer", (text,)) for text in right]
    found += [Try("wrong answers", (text,)) for text in wrong]
    found += [Try("malformed replies", (text,)) for text in _malformed(right, good, answers[0])]
    found += [Try("tool calls", (text,)) for text in good]
    found += [Try("refused tool calls", (text,)) for text in refused]
    for about, calls in (("answers after tool calls", good[:1] + good[-1:]), ("answers after refused calls", refused)):
        found += [Try(about, (call, last)) for call in calls[:2] for last in (*right[:2], *wrong[:1])]
    found += [Try("answers after tool calls", (good[0], good[-1], right[0]))] if good and right else []
    return list(dict.fromkeys(found))


def _answering(protocol: Protocol, answer: str, thoughts: Sequence[str]) -> Iterator[str]:
    for text in dict.fromkeys((answer, f"\\boxed{{{answer}}}")):
        for thought in thoughts:
            with suppress(FormatError):
                yield written(Turn(thought, answer=text), protocol.grammar)
            if protocol.grammar.think is None or protocol.grammar.answer is None:
                yield f"<think>{thought}</think>\n{text}"


def _calls(protocol: Protocol, size: Size, boxes: Sequence[Shares]) -> Iterator[str]:
    for box in (*boxes, MIDDLE, _CORNER, _WHOLE):
        with suppress(Exception):  # whatever the schema of an own tool is
            yield from examples(protocol.tools, protocol, size, box=box)


def _refused(protocol: Protocol, size: Size) -> Iterator[str]:
    with suppress(Exception):
        yield from examples(protocol.tools, protocol, size, arguments={INDEX: _NO_IMAGE})
        yield from examples(protocol.tools, protocol, size, box=(0.5, 0.5, 0.5, 0.5))


def _malformed(right: Sequence[str], calls: Sequence[str], answer: str) -> Iterator[str]:
    yield from ("", "I cannot tell.", answer, f"<answer>{answer}</answer>", f"\\boxed{{{answer}}}")
    for text in (*right[:1], *calls[:1]):
        yield from (text[:-4], text[len(text) // 2 :], text + text, "\n".join((*calls[:1], text)))
