"""Marks that model families write around turns, thoughts, calls and answers: one table for all who read replies.

The names are in the `added_tokens_decoder` of a tokenizer_config.json or in the chat template of their family. In a
mark between bars, `|` is also the full-width `｜`, brackets are pointed or square, and `_` is also `▁`; `*` stands for
up to 24 letters and `#` for digits. A mark that is added here is known to the strict and the tolerant reader, to
streams and to all that prints or compares answers.
"""

import re
from collections.abc import Iterable

import msgspec

Pair = tuple[str, str]
"""The mark that opens a part, empty if templates open it, and the one that closes it."""


class FamilyMarks(msgspec.Struct, frozen=True):
    """What a family of models writes.

    Args:
        ends: what ends a turn.
        last: the same, of what ends one only before the end of the text or a turn of somebody else: HTML has it, too.
        attached: the same as `last`, directly behind a word: behind a space it may be a word of a sentence.
        roles: what opens a turn in front of the name of a role.
        others: what opens a turn of somebody else than the model.
        own: what opens a turn of the model.
        fillers: what stands for nothing in an answer.
        thoughts: around a thought.
        first_thoughts: names of XML elements, with attributes or without, that are a thought where a reply begins so.
        answers: names of XML elements that hold the answer.
        calls: around tool calls.
        inputs: what stands in a prompt for pictures, sounds and tools, in addition to all names between bars.
    """

    ends: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    attached: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    fillers: tuple[str, ...] = ()
    thoughts: tuple[Pair, ...] = ()
    first_thoughts: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    calls: tuple[Pair, ...] = ()
    inputs: tuple[str, ...] = ()


FAMILIES = {
    "Qwen": FamilyMarks(
        ends=("<|im_end|>", "<|endoftext|>", "<im_end>"),
        roles=("<|im_start|>",),
        fillers=("<|*pad|>", "<|*pad_id|>", "<|extra_#|>"),
        thoughts=(("<think>", "</think>"),),
        calls=(("<tool_call>", "</tool_call>"),),
    ),
    "Llama": FamilyMarks(
        ends=("<|eot_id|>", "<|eot|>", "<|eom_id|>", "<|eom|>", "<|end_of_text|>"),
        roles=("<|start_header_id|>", "<|header_start|>"),
        fillers=("<|end_header_id|>", "<|header_end|>", "<|begin_of_text|>", "<|reserved_special_token_#|>"),
        calls=(("<|python_tag|>", "<|eom_id|>"),),
    ),
    "Phi": FamilyMarks(
        ends=("<|end|>",),
        others=("<|system|>", "<|user|>"),
        own=("<|assistant|>",),
        fillers=("<|dummy_#|>", "<|im_sep|>"),
    ),
    "GLM": FamilyMarks(
        others=("<|user|>", "<|observation|>", "<|system|>"),
        own=("<|assistant|>",),
        fillers=("<|begin_of_box|>", "<|end_of_box|>", "<begin_of_box>", "<end_of_box>", "[gMASK]", "<sop>"),
    ),
    "Kimi": FamilyMarks(
        ends=("<|im_end|>",),
        others=("<|im_user|>", "<|im_system|>"),
        own=("<|im_assistant|>",),
        fillers=(
            "<|im_middle|>", "<|tool_call_section_begin|>", "<|tool_call_section_end|>",
            "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>",
        ),
        thoughts=(("◁think▷", "◁/think▷"),),
    ),
    "Gemma": FamilyMarks(
        ends=("<end_of_turn>", "<turn|>", "<eos>"),
        roles=("<start_of_turn>", "<|turn>"),
        fillers=("<pad>", "<unk>", "<bos>", "<unused#>", "<channel|>", "<|channel>"),
        thoughts=(("<|channel>thought", "<channel|>"),),
        calls=(
            ("<|tool_call>call:", "<tool_call|>"),
            ("<|tool_call>:", "<tool_call|>"),
            ("<start_function_call>call:", "<end_function_call>"),
        ),
        inputs=(
            "<|image>", "<image|>", "<|audio>", "<audio|>", "<|video>", "<|channel>", "<channel|>", "<start_of_image>",
            "<end_of_image>", "<start_of_audio>", "<end_of_audio>", "<image_soft_token>", "<audio_soft_token>",
        ),
    ),
    "Mistral": FamilyMarks(
        last=("</s>",),
        others=("[INST]",),
        own=("[/INST]",),
        fillers=("<s>", "</s>", "[PAD]"),
        thoughts=(("[THINK]", "[/THINK]"),),
        calls=(("[TOOL_CALLS]", "</s>"),),
        inputs=("[IMG]", "[IMG_BREAK]", "[IMG_END]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[AVAILABLE_TOOLS]"),
    ),
    "DeepSeek": FamilyMarks(
        ends=("<|end_of_sentence|>", "<|end_of_turn|>"),
        others=("<|User|>", "<|tool_outputs_begin|>"),
        own=("<|Assistant|>",),
        fillers=("<|begin_of_sentence|>",),
        calls=(("<|tool_call_begin|>", "<|tool_call_end|>"),),
    ),
    "Cohere": FamilyMarks(
        ends=("<|END_OF_TURN_TOKEN|>",),
        roles=("<|START_OF_TURN_TOKEN|>",),
        others=("<|USER_TOKEN|>", "<|SYSTEM_TOKEN|>"),
        own=("<|CHATBOT_TOKEN|>",),
        fillers=tuple(f"<|{end}_{part}|>" for end in ("START", "END") for part in ("RESPONSE", "TEXT", "ACTION")),
        thoughts=(("<|START_THINKING|>", "<|END_THINKING|>"),),
    ),
    "harmony": FamilyMarks(
        ends=("<|end|>", "<|return|>", "<|call|>"), roles=("<|start|>",), fillers=("<|startoftext|>",)
    ),
    "Granite": FamilyMarks(ends=("<|end_of_text|>",), roles=("<|start_of_role|>",), fillers=("<|end_of_role|>",)),
    "EXAONE": FamilyMarks(ends=("[|endofturn|]",), others=("[|system|]", "[|user|]"), own=("[|assistant|]",)),
    "MiniMax": FamilyMarks(ends=("[e~[",), roles=("]~b]",), thoughts=(("<mm:think>", "</mm:think>"),)),
    "Ling": FamilyMarks(ends=("<|role_end|>", "<|message_sep|>", "<|end_of_document|>"), roles=("<role>",)),
    "Seed": FamilyMarks(ends=("<seed:eos>",), roles=("<seed:bos>",), thoughts=(("<seed:think>", "</seed:think>"),)),
    "Idefics": FamilyMarks(
        ends=("<end_of_utterance>",), inputs=("<start_of_utterance>", "<fake_token_around_image>", "<global-img>")
    ),
    "InternVL": FamilyMarks(inputs=("<IMG_CONTEXT>", "</IMG_CONTEXT>", "<img>", "</img>")),
    "LongCat": FamilyMarks(others=("<longcat_user>",), own=("<longcat_assistant>",)),
    "LFM": FamilyMarks(calls=(("<|tool_call_start|>", "<|tool_call_end|>"),)),
    "Functionary": FamilyMarks(fillers=(">>>all\n",)),
    "ERNIE": FamilyMarks(answers=("response",)),
    "Apriel": FamilyMarks(thoughts=(("", "[BEGIN FINAL RESPONSE]"),), fillers=("[END FINAL RESPONSE]",)),
    "others": FamilyMarks(
        ends=("<eod>",),
        attached=("[EOS]", "<\\s>"),
        others=("<|human|>", "<|prompter|>"),
        fillers=("<reserved_#>", "<extra_id_#>"),
        inputs=("<image>", "<__media__>", "<video_pad>", "<image_placeholder>"),
        thoughts=tuple((f"<{name}>", f"</{name}>") for name in ("thinking", "thought", "reasoning")),
        first_thoughts=("thought", "thoughts", "reasoning", "analysis", "reflection", "scratchpad", "details"),
        answers=("answer", "final_answer", "output", "result"),
    ),
}  # fmt: skip
"""Family -> what it writes. `others` are models that were trained on several formats, or prompted with them."""

PLACES = ("box", "object_ref", "quad", "point", "ref", "det", "poly", "loc", "bbox")
"""Names of the marks around places of a picture, which are a part of an answer."""

_BETWEEN_BARS = re.compile(r"[<\[][|｜](.+)[|｜][>\]]")


def all_of(kind: str) -> list[str]:
    """The marks of one kind, a field of `FamilyMarks`, of all families, each once; of pairs, both."""
    listed = (each for family in FAMILIES.values() for each in getattr(family, kind))
    return [*dict.fromkeys(mark for each in listed for mark in ([each] if isinstance(each, str) else each) if mark)]


def pairs_of(kind: str) -> list[Pair]:
    """The pairs of one kind, of all families, each once."""
    return [*dict.fromkeys(each for family in FAMILIES.values() for each in getattr(family, kind))]


def pattern(marks: Iterable[str]) -> str:
    """A pattern of marks, in all ways in which they are spelt."""
    names, others = list[str](), list[str]()
    for mark in marks:
        between = _BETWEEN_BARS.fullmatch(mark)
        (names if between else others).append(_spelt(between[1] if between else mark, bool(between)))
    return "|".join((*([rf"[<\[][|｜](?:{'|'.join(names)})[|｜][>\]]"] if names else []), *others))


_NAMES = ("first_thoughts", "answers")
_FIRST = {mark[0] for kind in FamilyMarks.__struct_fields__ if kind not in _NAMES for mark in all_of(kind)}
BEGINS = f"(?=[{re.escape(''.join(sorted(_FIRST)))}])"
"""A pattern of what any mark begins with; a search for marks that begins with it is faster."""


def _spelt(mark: str, is_between_bars: bool) -> str:
    escaped = re.escape(mark).replace(r"\#", r"\d+").replace(r"\*", r"\w{0,24}")
    return escaped.replace("_", "[_▁]") if is_between_bars else escaped
