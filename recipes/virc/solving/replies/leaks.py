"""Marks of chat templates in replies of stock models: of turns, and of thoughts that few models write so."""

import re

import msgspec

from virc.reasoning.session import Reply

_ENDS = r"<\|(?:im_end|eot_id|eom_id|end|endoftext)\|>|<end_of_turn>|<turn\|>|</s>|<eos>"
_STARTS = r"<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>|<\|turn>"
_HEADER = re.compile(rf"\A\s*(?:{_STARTS})\s*(?:assistant|model)\b\s*(?:<\|end_header_id\|>)?\s*")
_NEXT_TURN = re.compile(
    rf"(?:(?:{_ENDS})\s*(?:{_STARTS})|(?:{_STARTS})\s*(?:user|human|system|tool|ipython)\b).*\Z", re.DOTALL
)
_THOUGHT = re.compile(r"\A\s*<(thought|thoughts|reasoning|analysis|reflection|scratchpad|details)( [^<>]*)?>", re.I)
_COHERE = {"<|START_THINKING|>": "<think>", "<|END_THINKING|>": "</think>"} | dict.fromkeys(
    ("<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"), ""
)
_ANSWER = re.compile(r"<(/?)answer>", re.IGNORECASE)


def without_leaks(reply: Reply) -> Reply:
    """Return the reply up to the end of its turn, with a thought in `<think>` and an answer in `<answer>`."""
    text = _NEXT_TURN.sub("", _HEADER.sub("", reply.text, 1), 1)
    for mark, word in _COHERE.items():
        text = text.replace(mark, word)
    text = _ANSWER.sub(r"<\1answer>", text)
    opened = _THOUGHT.match(text)
    # An HTML list that is folded is no thought; one of Open WebUI says that it is.
    if opened and (opened[1].lower() != "details" or "reasoning" in (opened[2] or "")):
        thought, found, rest = text[opened.end() :].partition(f"</{opened[1]}>")
        text = f"<think>{thought}{found and '</think>'}{rest}"
    return reply if text == reply.text else msgspec.structs.replace(reply, text=text)
