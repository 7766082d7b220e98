"""Whether a server read all that was sent: its token counts compared with a lower bound of our own.

Some servers drop the oldest turns, or images, of a prompt longer than their context, and answer all the same.
No tokenizer is at hand here, so the bound is made of what holds for every tokenizer: a prompt that grew is at least as
long as it was plus what was added, and a word is at least half a token (a small model may have phrases as tokens).
"""

import hashlib
import json
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence

from virc.core.errors import EngineError
from virc.reasoning.session import Ask, Message, Reply

SLACK = 0.8
_KEPT = 4096
_SMALLEST_CONTEXT = 256  # tokens
# Pixels of a side that one token stands for: 28 in Qwen2-VL and Qwen2.5-VL, 32 in Qwen3-VL. The served name
# does not say for certain which, and an honest server must not be accused.
_TOKEN_SIDE = 32


class PromptCounts:
    """Remembers how long each conversation's prompt must be by now; several threads may share one.

    Args:
        images: whether the model spends tokens on images by the Qwen grid; otherwise they count nothing.
        most: tokens that an image is counted with at most; None: any number. Some servers scale images down.
    """

    def __init__(self, images: bool, most: int | None = None) -> None:
        self._images, self.most = images, most
        self._lock = threading.Lock()
        self._least: OrderedDict[bytes, int] = OrderedDict()

    def check(self, ask: Ask, reply: Reply, server: str, cached: int = 0) -> None:
        """Compare the prompt tokens of a reply to `ask` with the bound, and set the bound of the next turn.

        A server that reports none, or fewer than it reads of texts that no server drops, counts something else and is
        not judged. Tokens that it `cached` count as read in addition to the others, as it is unknown whether these
        include them.

        Raises:
            EngineError: over 20 % of the conversation cannot have been read.
        """
        least = self.least(ask)
        read = (reply.prompt_tokens or 0) + cached
        # what a server that drops messages keeps: the system message, the tools and the last text
        kept = (*(each.text for each in ask.messages if each.role == "system"), ask.messages[-1].text)
        fewest = min(_SMALLEST_CONTEXT, _words(*kept, json.dumps(list(ask.schemas))))
        if reply.prompt_tokens and fewest <= read < SLACK * least:
            dropped = EngineError(
                f"the server dropped part of the conversation: {server} read {read:,} tokens of at least {least:,}",
                hint="give it a longer context (Ollama: PARAMETER num_ctx in its Modelfile, vLLM: --max-model-len "
                "32768) or send smaller images (--max-pixels)",
            )
            dropped.is_full = True
            raise dropped
        key = _key([*ask.messages, Message("assistant", reply.text)], ask)
        tokens = max(reply.prompt_tokens or 0, least)
        # Of several conversations that only the model's words tell apart, the shortest counts.
        with self._lock:
            self._least[key] = min(tokens, self._least.get(key, tokens))
            self._least.move_to_end(key)
            if len(self._least) > _KEPT:
                self._least.popitem(last=False)

    def least(self, ask: Ask) -> int:
        known = max((i + 1 for i, message in enumerate(ask.messages) if message.role == "assistant"), default=0)
        with self._lock:
            before = self._least.get(_key(ask.messages[:known], ask), 0)
        whole = self._bound(ask.messages, ask)
        # The reply before comes back in fewer words than the model wrote where it thought.
        return max(whole, before + self._bound(ask.messages[max(known - 1, 0) :], ask)) if before else whole

    def _bound(self, messages: Sequence[Message], ask: Ask) -> int:
        images = [ask.images[index] for message in messages for index in message.images] if self._images else []
        tokens = (image.width * image.height // _TOKEN_SIDE**2 for image in images)
        # Without an assistant's thoughts: thinking models' templates drop them later on.
        kept = (m.text.rpartition("</think>")[2] if m.role == "assistant" else m.text for m in messages)
        most = math.inf if self.most is None else self.most
        return _words(*kept) + sum(int(min(each, most)) for each in tokens)


def _words(*texts: str) -> int:
    return sum(len(text.split()) // 2 for text in texts)


def _key(messages: Sequence[Message], ask: Ask) -> bytes:
    """What a conversation is known by: its texts and the sizes of its images, without what the model said.

    That may come back in other words: without its thought, or as a call that the server took out of it.
    """
    shape = [
        (message.role, message.role != "assistant" and message.text, [ask.images[i].size for i in message.images])
        for message in messages
    ]
    return hashlib.sha256(repr(shape).encode(errors="surrogatepass")).digest()
