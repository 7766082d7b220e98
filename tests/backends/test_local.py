import json
import math
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from test_kv_cache import FAMILIES, SIZES, picture, rendered, shown_to

from virc.backends.chatml import Rendered
from virc.backends.interface import Sampling, ScoredReply, TooLongError
from virc.backends.kv_cache import CachedModel
from virc.backends.local import LocalBackend, load
from virc.reasoning.images import show
from virc.reasoning.session import Ask, Message, Reply

GREEDY = Sampling(max_tokens=12)
WARM = Sampling(temperature=1.0, top_p=0.95, top_k=50, seed=5, max_tokens=12)


@pytest.fixture
def backend(tiny: Callable[..., Path]) -> LocalBackend:
    return load(tiny(), device="cpu")


def first(backend: LocalBackend, seed: int = 0, question: str = "What is it?") -> Ask:
    images = [show(picture(SIZES[0], seed), backend.grid)]
    return Ask([Message("system", "You look closer."), Message("user", question, (0,))], images)


def after(backend: LocalBackend, ask: Ask, reply: Reply) -> Ask:
    """The next Ask: the reply is taken and one more image, of another size, is shown."""
    turn = len(ask.images)
    taken = Message("assistant", reply.text, token_ids=reply.token_ids)
    images = [*ask.images, show(picture(SIZES[turn], turn), backend.grid)]
    return Ask([*ask.messages, taken, Message("user", "Go on.", (turn,))], images)


@pytest.mark.integration
@FAMILIES
def test_greedy_ids_equal_those_of_generate_at_every_turn(tiny: Callable[..., Path], family: str) -> None:
    import torch

    backend = load(tiny(family), device="cpu")
    network, words = backend.cached.network, backend._tokenizer
    marks = backend._marks
    unsaid = {*marks.controls, "<|vision_pad|>", "<|video_pad|>", "<|video|>", "<video>"} & {*words.get_vocab()}
    suppressed = [
        *words.convert_tokens_to_ids(sorted(unsaid - {marks.stop})),
        *range(len(words), network.config.get_text_config().vocab_size),
    ]
    said: set[int] = set()
    ask = first(backend)
    for turn in range(4):
        reply = backend.reply(ask, GREEDY)
        tokens = torch.tensor([rendered(backend, ask.messages, ask.images).ids])
        pictures = [shown.pixels for shown in ask.images]
        output = network.generate(
            input_ids=tokens,
            **shown_to(backend.cached, tokens, pictures),
            do_sample=False,
            max_new_tokens=12,
            suppress_tokens=suppressed,
        )
        expected = output[0, tokens.shape[1] :].tolist()
        assert list(reply.token_ids or ()) == [token for token in expected if token not in backend._ends]
        said.update(reply.token_ids or ())
        if turn < 3:
            ask = after(backend, ask, reply)
    assert len(said) > 4


def test_a_reply_holds_its_opening_and_goes_on_from_it(backend: LocalBackend) -> None:
    words, ask, said = backend._tokenizer, first(backend), list[str]()
    opening = words.encode("<think>\nI", add_special_tokens=False)
    prompt = len(rendered(backend, ask.messages, ask.images).ids)
    for _ in range(2):
        opened = LocalBackend("m", words, backend.cached, opening=opening).reply(
            ask, Sampling(max_tokens=3), said.append
        )
        ids = opened.token_ids or ()
        assert (list(ids[: len(opening)]), len(ids)) == (opening, len(opening) + 3)
        assert opened.text == words.decode(ids) == "".join(said)
        assert (opened.prompt_tokens, opened.completion_tokens) == (prompt + len(opening), 3)
        said.clear()
    conversation, cached = rendered(backend, ask.messages, ask.images), backend.cached
    prompt_ids = Rendered([*conversation.ids, *opening], [], conversation.images)
    logits = CachedModel(cached.network, cached.processor, cached.grid).read(prompt_ids, ask.images)
    assert ids[len(opening)] == int(logits.index_fill(0, backend._never, float("-inf")).argmax())


def test_a_reply_ends_with_a_text_that_ends_it(backend: LocalBackend) -> None:
    ask = first(backend)
    whole = backend.reply(ask, GREEDY).text
    stop = whole[len(whole) // 2 :][:2]
    reply = backend.reply(Ask(ask.messages, ask.images, [stop]), GREEDY)
    assert reply.finish == "stop"
    assert stop in reply.text
    assert whole.startswith(reply.text)
    assert len(reply.text) < len(whole)
    assert reply.completion_tokens == len(reply.token_ids or ())


@pytest.mark.parametrize("more", [0, -1])
def test_a_conversation_that_fills_the_context_is_too_long(backend: LocalBackend, more: int) -> None:
    ask = first(backend)
    asked = len(rendered(backend, ask.messages, ask.images).ids)
    backend.context = asked + more
    with pytest.raises(TooLongError, match=f"the model takes {asked + more}"):
        backend.reply(ask, GREEDY)
    backend.context = asked + 1
    assert backend.reply(ask, GREEDY).completion_tokens == 1


@pytest.mark.integration
def test_threads_take_turns_and_get_the_replies_they_would_get_alone(backend: LocalBackend) -> None:
    asks = [first(backend, seed) for seed in range(4)]
    alone = [backend.reply(ask, GREEDY) for ask in asks]
    together: dict[int, Reply] = {}

    def work(number: int) -> None:
        together[number] = backend.reply(asks[number], GREEDY)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[number] for number in range(4)] == alone
    assert len({reply.text for reply in alone}) == 4


@pytest.mark.integration
def test_an_interrupt_while_text_streams_spoils_nothing(backend: LocalBackend) -> None:
    ask = first(backend)
    expected = backend.reply(ask, GREEDY)
    pieces: list[str] = []

    def interrupt(piece: str) -> None:
        pieces.append(piece)
        if len(pieces) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backend.reply(ask, WARM, interrupt)
    assert backend.reply(ask, GREEDY) == expected


def test_a_reply_ends_at_any_end_token_the_model_names_and_does_not_hold_it(
    backend: LocalBackend, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    whole = backend.reply(first(backend), GREEDY)
    ids = whole.token_ids or ()
    end = next(place for place in range(3, 12) if ids[place] not in ids[:place])
    folder = Path(shutil.copytree(tiny(), tmp_path / "model"))
    settings = json.loads((folder / "generation_config.json").read_text())
    settings["eos_token_id"] = [ids[end], settings["eos_token_id"]]
    (folder / "generation_config.json").write_text(json.dumps(settings))
    reply = load(folder, device="cpu").reply(first(backend), GREEDY)
    assert (whole.finish, whole.completion_tokens) == ("length", 12)
    assert (reply.token_ids, reply.finish, reply.completion_tokens) == (ids[:end], "stop", end + 1)


@pytest.mark.integration
def test_a_reply_never_holds_image_or_header_tokens(backend: LocalBackend) -> None:
    words = backend._tokenizer
    reply = backend.reply(first(backend), Sampling(temperature=1000.0, seed=0, max_tokens=1500))
    assert len(set(reply.token_ids or ())) > 200
    special = {token for token, added in words.added_tokens_decoder.items() if added.special}
    assert set(reply.token_ids or ()) & special <= {words.convert_tokens_to_ids("<|endoftext|>")}
    assert max(reply.token_ids or ()) < len(words)


def test_the_likeliest_first_tokens_are_those_that_would_be_drawn(backend: LocalBackend) -> None:
    """Their shares add up to 1 over the whole vocabulary; what is never said is none of them."""
    asked = first(backend, question="Yes or no?")
    greedy = backend.reply(asked, Sampling(max_tokens=1))
    scored = backend.reply(asked, Sampling(max_tokens=1, likeliest=10**6))
    assert isinstance(scored, ScoredReply)
    assert scored.likeliest
    shares = [math.exp(value) for _, value in scored.likeliest]
    assert scored.likeliest[0][0] == greedy.text == scored.text
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    never = {text for text, value in scored.likeliest if value == -math.inf}
    assert never >= {"<|im_start|>", "<|image_pad|>", "<|vision_start|>", "<|video_pad|>"}
    assert not never & {"<|im_end|>", "<think>", "a", "9"}
    assert not isinstance(greedy, ScoredReply) or greedy.likeliest is None
