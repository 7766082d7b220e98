"""Detects servers that drop part of a prompt, by comparing their token counts with a lower bound.

Some servers drop the oldest turns, or images, of a prompt longer than their context, and answer all the same. The bound
holds for every tokenizer, as the server's is unknown: a prompt that grew is at least as long as before plus the new
part, and a word is at least half a token (a small model may have phrases as tokens).
"""

import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Sequence

from virc.core.errors import EngineError
from virc.core.work import forks
from virc.reasoning.marks.special_tokens import thought_closes
from virc.reasoning.session import Ask, Message, Reply

SLACK = 0.8  # share of the bound that must have been read
_MAX_CONVERSATIONS = 4096
_SMALLEST_CONTEXT = 256  # tokens
# Pixels of a side per token: 28 in Qwen2-VL and Qwen2.5-VL, 32 in Qwen3-VL. The name of a served model may not tell
# which it is; 32 gives the lower bound.
_TOKEN_SIDE = 32


class PromptCounts:
    """Lower bounds on the prompt tokens of each conversation. Thread-safe.

    Args:
        images: whether the model uses tokens for images by the Qwen grid; otherwise they count nothing.
        most: maximum tokens counted for an image; None: no maximum. Some servers scale images down.
    """

    def __init__(self, images: bool, most: int | None = None) -> None:
        self._images, self.most = images, most
        self._lock = forks.Lock()
        self._bounds: OrderedDict[bytes, int] = OrderedDict()

    def check(self, ask: Ask, reply: Reply, server: str, cached: int = 0) -> None:
        """Compare the prompt tokens of a reply to `ask` with the bound, and set the bound of the next turn.

        Nothing follows from a server that reports no tokens, or fewer than the texts that no server drops have: it
        counts something else. `cached` tokens are added, as it is unknown whether `prompt_tokens` includes them.

        Raises:
            EngineError: over 20 % of the conversation cannot have been read.
        """
        least = self.least(ask)
        read = (reply.prompt_tokens or 0) + cached
        # no server drops the system message, the tools and the last text
        undropped = (*(each.text for each in ask.messages if each.role == "system"), ask.messages[-1].text)
        min_read = min(_SMALLEST_CONTEXT, min_tokens(*undropped, json.dumps(list(ask.schemas))))
        if reply.prompt_tokens and min_read <= read < SLACK * least:
            dropped = EngineError(
                f"the server dropped part of the conversation: {server} read {read:,} tokens of at least {least:,}",
                hint="give it a longer context (Ollama: PARAMETER num_ctx in its Modelfile, vLLM: --max-model-len "
                "32768) or send smaller images («--max-pixels»)",
            )
            dropped.is_full = True
            raise dropped
        key = _key([*ask.messages, Message("assistant", reply.text)], ask)
        tokens = max(reply.prompt_tokens or 0, least)
        # Conversations that differ only in the model's texts share a key: the smallest bound counts.
        with self._lock:
            self._bounds[key] = min(tokens, self._bounds.get(key, tokens))
            self._bounds.move_to_end(key)
            if len(self._bounds) > _MAX_CONVERSATIONS:
                self._bounds.popitem(last=False)

    def least(self, ask: Ask) -> int:
        """The lower bound on the prompt tokens of `ask`."""
        answered = max((i + 1 for i, message in enumerate(ask.messages) if message.role == "assistant"), default=0)
        with self._lock:
            previous = self._bounds.get(_key(ask.messages[:answered], ask), 0)
        bound = self._bound(ask.messages, ask)
        # `previous` ends before the last reply, which counts by its words here, as its thought may not be sent again.
        return max(bound, previous + self._bound(ask.messages[max(answered - 1, 0) :], ask)) if previous else bound

    def _bound(self, messages: Sequence[Message], ask: Ask) -> int:
        images = [ask.images[index] for message in messages for index in message.images] if self._images else []
        tokens = (image.width * image.height // _TOKEN_SIDE**2 for image in images)
        # Templates of thinking models drop the thoughts of earlier turns.
        texts = (thought_closes().split(m.text)[-1] if m.role == "assistant" else m.text for m in messages)
        max_tokens = math.inf if self.most is None else self.most
        return min_tokens(*texts) + sum(int(min(count, max_tokens)) for count in tokens)


def min_tokens(*texts: str) -> int:
    return sum(len(text.split()) // 2 for text in texts)


def _key(messages: Sequence[Message], ask: Ask) -> bytes:
    """Identifies a conversation by its texts and the sizes of its images, without the texts of the model.

    Those may differ in the next request, without the thought, or with the call in a field of its own.
    """
    shape = [
        (message.role, message.role != "assistant" and message.text, [ask.images[i].size for i in message.images])
        for message in messages
    ]
    return hashlib.sha256(repr(shape).encode(errors="surrogatepass")).digest()
