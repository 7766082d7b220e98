"""The roles of a pipeline, as its function asks them: `Asker.ask`, `sample` and `probabilities`."""

import math
import re
import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import permutations
from typing import NamedTuple

from msgspec.structs import replace

from virc.backends.interface import Likeliest, Sampling, ScoredReply
from virc.core.errors import NoAnswerError, VircError
from virc.reasoning.session import Reply as Drawn
from virc_extras.pipelines.speaking import Reply, Role, ShownPicture, Speaker, Spoken, Turn, naming
from virc_extras.pipelines.steps import Kind, MisuseError, Place, Ran, drawn, here, total
from virc_extras.pipelines.turns import Part, answered, pictures_of, turn_of


def chances(answers: Sequence[str], likeliest: Likeliest) -> tuple[dict[str, float], tuple[str, ...]]:
    """The probability of each answer among these, which add up to 1; all are 0 if no token begins one of them. And the
    answers that the likeliest token begins of those that begin several, if these hold over 1 % of the probability.

    A token counts for the one answer that it begins, without regard to case, space before it and a mark behind it;
    ZoomEye's softmax of the scores of "Yes" and "No" (github.com/om-ai-lab/ZoomEye, `ZoomEye/zoom_model.py`) is the
    case of two answers of one token each.
    """
    found, shared = dict.fromkeys(answers, 0.0), dict[tuple[str, ...], float]()
    for token, logprob in likeliest:
        text = re.sub(r"(?<=\w)[.,:;!]+\Z", "", token.strip()).lower()
        begun = tuple(each for each in answers if text and each.lower().startswith(text))
        if len(begun) == 1:
            found[begun[0]] += math.exp(logprob)
        elif begun:
            shared[begun] = shared.get(begun, 0.0) + math.exp(logprob)
    alone, both = sum(found.values()), sum(shared.values())
    unclear: tuple[str, ...] = max(shared, key=shared.__getitem__) if both > _MAX_SHARED * (alone + both) else ()
    return {each: share / (alone or 1.0) for each, share in found.items()}, unclear


_MAX_SHARED = 0.01  # of the probability of tokens that begin an answer
_LIKELIEST = 20  # first tokens that are asked for: the most that OpenAI and vLLM send


class _AskStep(NamedTuple):
    """A step in which a role was asked: its place in the run, what the role said, and its record."""

    place: Place
    spoken: list[Spoken]
    ran: Ran


class Asker:
    """A role that can be asked, by several threads at the same time."""

    def __init__(self, name: str, role: Role, speak: Speaker) -> None:
        self._name, self._role, self._speak = name, role, speak

    def ask(self, *parts: Part, after: Reply | None = None, step: str = "") -> Reply:
        """Return the role's reply.

        Args:
            parts: texts and pictures, in the order in which the role is sent them.
            after: an earlier reply of this role, in whose conversation it is asked.
            step: what the trace calls this; by default the role's name.

        Raises:
            VircError: as the role's model; the message names the role and the step.
            ValueError: a picture cannot be shown, or the role has its own chat protocol and gets none.
        """
        return self.sample(1, *parts, after=after, step=step)[0]

    def sample(self, count: int, *parts: Part, after: Reply | None = None, step: str = "") -> list[Reply]:
        """Return several replies, drawn at the same time with seeds that differ; the rest is as of `ask`."""
        if count < 1:
            raise MisuseError(f"{count} replies cannot be drawn")
        if count > 1 and self._role.temperature == 0:
            raise MisuseError(f"{count} replies of role {self._name!r} would be the same: its temperature is 0")
        turns = (*(after.turns if after else ()), turn_of(parts))
        ask_step = self._ask_role("ask", [turns] * count, step)
        here().run.add(ask_step.place, ask_step.ran)
        seen = tuple(ShownPicture(*each) for each in zip(pictures_of(turns), ask_step.spoken[0].sizes, strict=False))
        texts = [each.reply.text for each in ask_step.spoken]
        return [Reply(text, answered(turns, text), seen) for text in texts]

    def probabilities(
        self, answers: Sequence[str], *parts: Part, after: Reply | None = None, step: str = ""
    ) -> dict[str, float]:
        """Return how likely each of some short answers is to begin the role's reply; they add up to 1.

        Args:
            answers: such as "Yes" and "No", which begin with different words.

        Raises:
            NoAnswerError: none of them begins one of the likeliest replies, a likely first token begins two of them, or
                the role's server says no log-probabilities.
            VircError, ValueError: as of `ask`; the rest is as of `ask`.
        """
        if self._role.own_protocol:
            raise MisuseError(f"role {self._name!r} has its own chat protocol, whose replies begin as that says")
        one_begins_another = any(other.lower().startswith(one.lower()) for one, other in permutations(answers, 2))
        if isinstance(answers, str) or len(answers) < 2 or one_begins_another:
            raise MisuseError(f"{answers!r} are not two or more answers of which none begins another")
        turns = (*(after.turns if after else ()), turn_of(parts))
        ask_step = self._ask_role("ask", [turns], step, _LIKELIEST)
        reply = ask_step.spoken[0].reply
        likeliest = reply.likeliest if isinstance(reply, ScoredReply) else None
        found, unclear = chances(answers, likeliest or ())
        if (any(found.values()) and not unclear) or here().run.is_dry:
            output = ", ".join(f"{answer} {share:.3f}" for answer, share in found.items())
            here().run.add(ask_step.place, replace(ask_step.ran, output=(output,)))
            return found if any(found.values()) else dict.fromkeys(answers, 1 / len(answers))
        here().run.add(ask_step.place, ask_step.ran)
        where = f"step {step or self._name!r}: role {self._name!r}"
        if likeliest is None:
            hint = "vLLM, SGLang, llama.cpp and Ollama from 0.12.11 on send them"
            raise NoAnswerError(f"{where} was asked for probabilities, and its server sends no `logprobs`", hint)
        begins = ", ".join(repr(token) for token, _ in likeliest[:3])
        if unclear:
            sentence = f"{where} begins its reply with {begins}: the first token does not tell {' from '.join(unclear)}"
            raise NoAnswerError(sentence, "have the prompt ask for answers that begin differently, such as A, B and C")
        sentence = f"{where} begins its reply with {begins}, none of {', '.join(answers)}"
        raise NoAnswerError(sentence, "have the prompt ask for them alone")

    def _ask_role(self, kind: Kind, dialogues: Sequence[tuple[Turn, ...]], step: str, likeliest: int = 0) -> _AskStep:
        """Draw replies to dialogues at the same time; with `likeliest` their first token alone."""
        if self._role.own_protocol and not all(turns[-1].pictures for turns in dialogues):
            raise ValueError(f"role {self._name!r} needs a picture: it is asked by its own chat protocol")
        if self._role.own_protocol and any(len(turns) > 1 for turns in dialogues):
            raise ValueError(f"role {self._name!r} has its own chat protocol, in which no conversation can continue")
        name, place, began = step or self._name, here().next(), time.monotonic()
        ran = Ran(
            name=name,
            kind=kind,
            role=self._name,
            system=self._role.system,
            prompt=dialogues[0][-1].prompt,
            shown=tuple(each.size for each in dialogues[0][-1].pictures),
        )
        try:
            spoken = drawn(
                [partial(self._spoken, turns, name, (*place, at), likeliest) for at, turns in enumerate(dialogues)]
            )
        except VircError as error:
            here().run.add(place, replace(ran, error=error.message, seconds=round(time.monotonic() - began, 3)))
            raise
        replies = [each.reply for each in spoken]
        done = replace(
            ran,
            output=tuple(reply.text for reply in replies),
            prompt_tokens=total(reply.prompt_tokens for reply in replies),
            completion_tokens=total(reply.completion_tokens for reply in replies),
            replies=sum(each.replies for each in spoken),
            seconds=round(time.monotonic() - began, 3),
        )
        return _AskStep(place, spoken, done)

    def _spoken(self, turns: Sequence[Turn], step: str, place: Place, likeliest: int) -> Spoken:
        run = here().run
        if run.is_dry:
            return Spoken(Drawn(f"{{{step}}}"), 1, tuple(each.size for each in pictures_of(turns)))
        with naming(f"role {self._name!r}, step {step!r}"):
            longest = 1 if likeliest else self._role.max_tokens or Sampling().max_tokens
            seed = run.seed_of(self._name, *place)
            sampling = Sampling(self._role.temperature, max_tokens=longest, seed=seed, likeliest=likeliest)
            return self._speak(turns, sampling)


class Roles:
    """The roles of a pipeline, by their names: `roles.eyes`, or `roles["eyes"]`."""

    def __init__(self, askers: Mapping[str, Asker]) -> None:
        self._askers = askers

    def __getitem__(self, name: str) -> Asker:
        if name not in self._askers:
            raise AttributeError(f"ROLES has no {name!r}; it has {', '.join(self._askers)}")
        return self._askers[name]

    def __getattr__(self, name: str) -> Asker:
        return self[name]
