"""The models behind the roles of a pipeline: which they are, opened, and asked."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import msgspec

from virc.backends.interface import Sampling
from virc.config import user as config
from virc.core.errors import DataError, UsageError
from virc.core.events import Reporter
from virc.core.text import did_you_mean
from virc.core.timeouts import Deadline
from virc.models import registry as models
from virc.models.load import Choice, Opened, open_model
from virc.reasoning.history import show_input
from virc.reasoning.images import OpenedImage, Shown
from virc.reasoning.session import Reply
from virc.solving import one
from virc.solving.one import SolveConfig
from virc_extras.pipelines.speaking import Role, Speaker, Spoken, Turn, naming
from virc_extras.pipelines.turns import pictures_of, request


class OpenRole(msgspec.Struct, frozen=True):
    """A role and its open model; `turn` lets as many threads ask it at a time as suit it, one if it runs here."""

    role: Role
    opened: Opened
    turn: AbstractContextManager[object] = nullcontext()


def choices(roles: Mapping[str, Role], given: Mapping[str, str], default: Choice) -> dict[str, Choice]:
    """Which model each role is.

    The key of `default` goes to endpoints of the command line alone: a file of someone else may name any address.

    Args:
        given: role -> address of an endpoint, or model; they replace those of the file.
        default: of roles that neither names.
    """
    for name in given:
        if name not in roles:
            raise UsageError(f"«--role {name}»: there is no such role", did_you_mean(name, list(roles)))
    return {name: _choice(name, role, given.get(name), default) for name, role in roles.items()}


def _choice(name: str, role: Role, given: str | None, default: Choice) -> Choice:
    shared = Choice(device=default.device, max_pixels=default.max_pixels, timeout=default.timeout)
    if given and given.startswith(("http://", "https://")):
        endpoint = str(config.check_setting("endpoint", given, f"«--role {name}»", UsageError))
        model = role.model if role.endpoint else None  # a model of this machine has no name there
        return msgspec.structs.replace(shared, endpoint=endpoint, model=model, api_key=default.api_key)
    if given:
        return msgspec.structs.replace(shared, model=given)
    if role.endpoint or role.model:
        return msgspec.structs.replace(shared, endpoint=role.endpoint, model=role.model)
    if default.endpoint or default.model:
        return default
    raise UsageError(f"role {name!r} has no model", f"«--role {name}=URL» or «--role {name}=MODEL»")


def described(choice: Choice) -> str:
    return f"{choice.model or 'its model'} at {choice.endpoint}" if choice.endpoint else str(choice.model)


@contextmanager
def open_roles(
    roles: Mapping[str, Role], chosen: Mapping[str, Choice], report: Reporter
) -> Iterator[Mapping[str, OpenRole]]:
    found: dict[Choice, tuple[Opened, AbstractContextManager[object]]] = {}
    with ExitStack() as stack:
        for name, choice in chosen.items():
            if choice not in found:
                if not choice.endpoint:
                    report.start(f"loading the model {choice.model} of role {name!r}")
                with naming(f"role {name!r}"):
                    opened = stack.enter_context(open_model(choice))
                found[choice] = opened, threading.BoundedSemaphore(opened.at_once if opened.answers else 1)
            _warn(name, roles[name], found[choice][0], report)
        yield {name: OpenRole(roles[name], *found[choice]) for name, choice in chosen.items()}


def _warn(name: str, role: Role, opened: Opened, report: Reporter) -> None:
    for warning in opened.warnings if role.own_protocol else ():
        report.warn(f"role {name!r}: {warning}")
    trained = bool(opened.why) and opened.family is None
    if role.own_protocol or not trained:
        return
    system, _ = models.served(opened.name)
    if system is None or not system.pipeline:  # the models of such systems were trained to be asked by their pipeline
        sentence = f"role {name!r}: {opened.name} was trained with a chat protocol of its own, and is asked without it"
        report.warn(sentence, f"Role(own_protocol=True) for {name!r}, which is then to be sent pictures")


def speaker(
    asked: OpenRole, deadline: Deadline, max_turns: int, check: Callable[[], None], ends: bool = False
) -> Speaker:
    """What draws the replies of a role; `check` is called before each, and with `ends` for each piece of it."""
    cached: dict[int, tuple[OpenedImage, Shown]] = {}  # holds the pictures: an id of one that is gone is used again

    def seen(picture: OpenedImage) -> Shown:
        if id(picture) not in cached:
            protocol, grid = asked.opened.chat_protocol, asked.opened.backend.grid
            try:
                cached[id(picture)] = picture, show_input(picture, protocol, grid)
            except ValueError as error:
                raise DataError(str(error)) from error
        return cached[id(picture)][1]

    def on_text(_: object) -> None:
        check()

    on_piece = on_text if ends else None

    def draw(turns: Sequence[Turn], sampling: Sampling) -> Spoken:
        check()
        shown = [seen(each) for each in pictures_of(turns)]
        sizes = tuple(each.size for each in shown)
        with asked.turn:
            check()
            if deadline.left() == 0:
                raise one.deadline_error(deadline)
            if asked.role.own_protocol:
                solved = _solved(asked, turns[-1].prompt, shown, sampling, deadline, max_turns, on_piece)
                return Spoken(*solved, sizes)
            reply = asked.opened.backend.reply(request(asked.role, turns, shown), sampling, on_piece, deadline.left())
            return Spoken(reply, 1, sizes)

    return draw


def _solved(
    asked: OpenRole,
    prompt: str,
    images: Sequence[Shown],
    sampling: Sampling,
    deadline: Deadline,
    max_turns: int,
    on_event: one.OnEvent | None,
) -> tuple[Reply, int]:
    settings = SolveConfig(
        temperature=asked.role.temperature,
        seed=sampling.seed or 0,
        max_tokens=asked.role.max_tokens,
        max_turns=max_turns,
        keep_images=False,
    )
    opened = asked.opened
    solved = one.solve(
        settings,
        opened.backend,
        opened.chat_protocol,
        images,
        prompt,
        on_event=on_event or (lambda _: None),
        deadline=deadline,
    )
    if solved.error:
        raise solved.error
    answer = Reply(solved.answer or "", prompt_tokens=solved.prompt_tokens, completion_tokens=solved.completion_tokens)
    return answer, solved.replies
