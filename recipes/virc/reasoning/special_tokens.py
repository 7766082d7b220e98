"""Special tokens of model families that servers leave in texts: what ends a turn, opens one, and fills gaps.

One table for all who read or print replies. Families: Qwen, InternVL and Kimi (`im_`), GLM, Llama 3 and 4, Phi, Gemma,
Mistral, DeepSeek, Cohere, Granite, EXAONE, MiniMax, Ling, Seed, Idefics and OpenAI's harmony; each name is in the
`added_tokens_decoder` of a tokenizer_config.json of its family. Other names in `<|…|>` are unknown families'.
"""

import re


def _piped(*names: str) -> str:
    """Names between bars, as most families write special tokens; DeepSeek has full-width bars, EXAONE brackets."""
    return rf"[<\[][|｜](?:{'|'.join(names)})[|｜][>\]]"


_END = "|".join((
    _piped(
        "im_end", "eot_id", "eot", "eom_id", "eom", "end", "endoftext", "end_of_text", "return", "call", "endofturn",
        "end[_▁]of[_▁](?:sentence|turn)", "END_OF_TURN_TOKEN", "role_end", "message_sep", "end_of_document",
    ),
    r"<end_of_(?:turn|utterance)>", r"<turn\|>", r"<(?:seed:)?eos>", r"<eod>", r"\[e~\[", r"<im_end>",
    r"(?:</s>|(?<=\S)(?:\[EOS\]|<\\s>))(?=\s*(?:\Z|\[INST|<s>|(?:USER|Human):))",
))  # fmt: skip
"""What ends a turn; `</s>` elsewhere is HTML, `[EOS]` behind a space may be a word of a sentence."""
_OPEN = "|".join((
    _piped("im_start", "start_header_id", "header_start", "start_of_role", "start", "START_OF_TURN_TOKEN"),
    r"<start_of_turn>", r"<\|turn>", r"\]~b\]", "<role>", "<seed:bos>",
))  # fmt: skip
"""What opens a turn in front of the name of a role."""
_OTHERS = "|".join((
    _piped(
        "user", "observation", "system", "human", "im_user", "im_system", "User", "USER_TOKEN", "SYSTEM_TOKEN",
        "prompter", "tool[_▁]outputs[_▁]begin",
    ),
    r"\[INST\]", "<longcat_user>",
))  # fmt: skip
"""What opens a turn of somebody else than the model."""
_MODEL = "|".join((
    _piped("assistant", "im_assistant", "Assistant", "CHATBOT_TOKEN"), r"\[/INST\]", "<longcat_assistant>",
))  # fmt: skip
"""What opens a turn of the model."""
_FILLING = "|".join((
    _piped(
        r"\w{0,24}pad(?:_id)?", "im_middle", "im_sep",
        "end_header_id", "header_end", "end_of_role", "begin_of_text", "startoftext",
        "begin[_▁]of[_▁]sentence", "(?:START|END)_(?:RESPONSE|TEXT|ACTION)", "tool_calls?_section_(?:begin|end)",
        r"(?:reserved_special_token|dummy|extra)_\d+",
    ),
    "</?s>", "<(?:pad|unk|bos)>", r"\[(?:PAD|END FINAL RESPONSE)\]", r"<channel\|>", r"<\|channel>",
    r"<(?:unused|reserved_|extra_id_)\d+>", r"\[gMASK\]", "<sop>",
))  # fmt: skip
"""What stands for nothing in an answer."""
_ANY = f"(?>{_END}|{_OPEN}|{_OTHERS}|{_MODEL}|{_FILLING})"
_QUOTE, _CLOSING_QUOTE = "`\"'“‘", "`\"'”’"
_ROLES = r"(?i:user|human|system|tool|ipython|developer|observation|environment)\b"

_LONGEST, _MAX_END = 32, 1000  # characters of a token, and of those at the end of a reply

_OWN_ROLE = r"(?:assistant|ASSISTANT|model|ai)\b"
_OWN_HEADER = rf"(?:(?:{_OPEN})\s*+{_OWN_ROLE}|(?:{_MODEL})\s*+{_OWN_ROLE}(?=[ \t]*\n|\s*+{_FILLING}))"
HEADER = re.compile(rf"\A(?:\s*+(?!{_OWN_HEADER}){_ANY})*+\s*+{_OWN_HEADER}\s*+(?:{_FILLING}|</role>)?\s*+")
"""What opens the turn of the model at the beginning of a reply; Kimi names the role behind a token of the role, too."""
_NAMED = rf"(?<=[a-z] )(?:{_END}|{_OPEN}) (?!{_ROLES}|{_OWN_ROLE})[a-z]"
"""A token that a sentence is about: words in small letters stand on both sides of it, and none of them is a role."""
SPECIAL = re.compile(rf"(?<![{_QUOTE}])(?!{_NAMED}){_ANY}(?![{_CLOSING_QUOTE}])")
"""A special token that stands for nothing in an answer."""
_LEADING = re.compile(rf"(?:\s*+{_ANY})*+\s*+")
_TURN_ENDS = re.compile(
    rf"(?<![{_QUOTE}])(?!{_NAMED})(?:{_END}|{_OTHERS}|(?:{_OPEN})\s*+{_ROLES})(?![{_CLOSING_QUOTE}])"
)
_CLOSING_NOTHING = re.compile(r"(?<!\s)(?:\s*+</(answer|final_answer|response)>)++\s*+\Z", re.IGNORECASE)
"""The closing tag of an answer at the end of a text, as a model writes it that left out the one that opens it."""
_NO_GAP = r"/?(?:box|object_ref|quad|point|ref|det)|(?:begin|end)_of_box"
_UNKNOWN = re.compile(rf"(?<=[^\s|｜>])\s*+(?:<[|｜](?!{_NO_GAP})[\w▁]{{1,40}}[|｜]>\s*+)++\Z")
"""Tokens of an unknown family at the end of a text; those of boxes are a part of it."""


def end_of_turn(text: str, start: int = 0) -> int:
    """Where the first turn of a reply ends, or else its length; it is looked for from `start` on.

    A model that goes on behind it makes up a question, and the answer to that.
    """
    leading = _LEADING.match(text)
    found = _TURN_ENDS.search(text, max(start, leading.end() if leading else 0))
    return found.start() if found else len(text)


def own_turn(text: str) -> str:
    """A reply without turns behind its own; tokens at its end alone stay, as the ids that were drawn have them."""
    end = end_of_turn(text)
    return text[:end] if without_special(text[end:]).strip() else text


def first_turn(text: str) -> str:
    """The first turn of a reply, without what opens and ends it."""
    text = HEADER.sub("", text, count=1)
    return text[: end_of_turn(text)]


def without_special(text: str) -> str:
    """A text without special tokens; at its end, without those of unknown families and tags that close nothing."""
    cleaned = SPECIAL.sub("", text)
    start = max(0, len(cleaned) - _MAX_END)
    cleaned = cleaned[:start] + _UNKNOWN.sub("", cleaned[start:])
    closing = _CLOSING_NOTHING.search(cleaned, max(0, len(cleaned) - _MAX_END))
    return cleaned[: closing.start()] if closing and f"<{closing[1].lower()}>" not in cleaned.lower() else cleaned


class TurnStream:
    """The pieces of a reply that belong to its first turn; a token comes in one piece, or in few."""

    def __init__(self) -> None:
        self._tail, self._is_begun, self._is_over = "", False, False

    def of_turn(self, piece: str) -> str:
        """The part of the next piece that belongs to it."""
        if self._is_over:
            return ""
        text, before = self._tail + piece, len(self._tail)
        end = end_of_turn(text, 1 if self._is_begun else 0)
        self._is_over = end < len(text)
        self._tail, self._is_begun = text[-_LONGEST:], self._is_begun or len(text) > _LONGEST
        return text[before:end]
