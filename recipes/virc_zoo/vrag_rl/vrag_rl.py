r"""The reward of VRAG-RL: the judge's verdict, the form, and how well the pages that were found are ranked.

    formed * (0.7 * judged + 0.1 + 0.2 * ranked)

    formed: 1 where there are the marks of a search and of an answer, each pair in that order
    judged: 1 where the judge calls the last answer right; not asked where the form is wrong
    ranked: NDCG of the pages in the order in which they were found

All of it is of the completion as one text, with what the model is told of wrong boxes, in which <search>, <answer> and
an answer stand. From 0 to 1. The pages of a row are its `reference_page` of its `file_name`: page 3 of `a.pdf` is the
picture `a_3.jpg` in the folder of the tool `search`. The question to the judge stands in `judge.yaml`.
Source: Alibaba-NLP/VRAG@24f8d05, VRAG-RL/verl/workers/reward_manager/rm.py, and compute_format_reward_only of
VRAG-RL/verl/utils/reward_score/vrag.py. What differs: a judge that gives no verdict is asked 20 times and is then worth
0, and asked without end there; a page that a row names twice counts once.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from math import log2
from pathlib import Path
from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.question import asks, published
from virc.rewards.sample import Sample
from virc_zoo.delimiters import between
from virc_zoo.rollouts import before_reply, of_last_reply

TERMS = ("formed", "judged", "ranked")
whole = of_last_reply
JUDGE = "vrag-rl"
"""What its judge is asked for."""
_MARKS = re.compile(r"<(answer|search|think|bbox)>")


def verdict(reply: str) -> float | None:
    """1 or 0 from the first <judge> of a reply: whether there is a true in it, else a false; None without either."""
    said = next(between(reply, "<judge>", "</judge>"), "")
    if any(word in said for word in ("true", "True")):
        return 1.0
    return 0.0 if any(word in said for word in ("false", "False")) else None


ASKED = published(Path(__file__).with_name("judge.yaml"), verdict, tries=20)


def completion(sample: Sample) -> str:
    """What the model wrote and was shown behind the question, as one text; of its replies what stands in marks."""
    told = [marked(each.content) if each.role == "assistant" else each.content for each in before_reply(sample)]
    return "\n".join((*told, marked(sample.text)))


def marked(reply: str) -> str:
    """The thoughts, calls and answers of a reply with their marks, a line each, as the program keeps it."""
    found, at, lacking = list[str](), 0, set[str]()
    while begun := _MARKS.search(reply, at):
        tag, at = begun[1], begun.end()
        end = -1 if tag in lacking else reply.find(f"</{tag}>", at)
        if end < 0:
            lacking.add(tag)  # nor is there one behind any later mark
            continue
        at = end + len(f"</{tag}>")
        found.append(reply[begun.start() : at])
    return "\n".join(found)


def formed(sample: Sample, context: RewardContext) -> float:
    """Whether there are a search and an answer in the completion, each with both of its marks: 1 or 0."""
    text = completion(sample)
    return float(all(_holds(text, tag) for tag in ("answer", "search")))


def _holds(text: str, tag: str) -> bool:
    """Whether a first mark stands somewhere before a second one."""
    start = text.find(f"<{tag}>")
    return 0 <= start < text.rfind(f"</{tag}>")


def answer_of(text: str) -> str:
    """What stands in the last marks of an answer; of several first marks before the last second one, behind the last.

    Empty where there is none.
    """
    end = text.rfind("</answer>")
    mark, found = text[: max(end, 0)].rpartition("<answer>")[1:]
    return found if mark else ""


@asks(ASKED)
async def judged(sample: Sample, context: RewardContext) -> float | None:
    """Whether the judge of VRAG-RL calls the answer right: 1 or 0; of completions that are formed."""
    if not formed(sample, context):
        return None
    asked = await ASKED.asked(sample, context, "judged", answer=answer_of(completion(sample)))
    sample.why["judged"] = asked.why
    return asked.value


def ranked(sample: Sample, context: RewardContext) -> float:
    """NDCG of the pages that were found, in their order, 0 to 1; 0 where the row names no pages."""
    return ndcg(found_by(sample), pages_of(sample.prompt.columns))


def ndcg(found: Sequence[str], relevant: Collection[str]) -> float:
    """The discounted gain of what was found, in its order, over the highest possible, 0 to 1; 0 if nothing is relevant.

    The gain at place i, from 1, is 1 / log2(i + 1) of what is relevant; the highest possible has all that is relevant
    first. What is found again counts at its first place alone (published, at each), and later places stay.
    """
    highest = sum(1 / log2(place + 1) for place in range(1, len({*relevant}) + 1))
    first = {each: place for place, each in reversed([*enumerate(found, 1)])}
    gained = sum(1 / log2(place + 1) for each, place in first.items() if each in {*relevant})
    return gained / highest if highest else 0.0


def found_by(sample: Sample) -> list[str]:
    """The names of the pages that searches have shown before the reply, without their endings.

    A search in the last reply that a rollout may have is not carried out in the program, and does not count.
    """
    from virc_extras.search import tool as search

    before = [each.call for each in sample.prompt.calls if each.call]
    queries = [call.arguments["query"] for call in before if call.name == search.NAME]
    shown = list[Path]()
    for query in queries:
        shown += [page for page in search.ranked(query) if page not in shown][:1]
    return [page.stem for page in shown]


def pages_of(columns: Mapping[str, Any]) -> list[str]:
    """The names of the pages that answer a row, without their endings."""
    return next(_named(columns), [])


def _named(columns: Mapping[str, Any]) -> Iterator[list[str]]:
    """The pages that the columns name, or an object in one of them, as published rows have it."""
    for fields in (columns, columns.get("meta_info"), columns.get("extra_info")):
        if isinstance(fields, Mapping) and fields.get("file_name") and fields.get("reference_page"):
            file, pages = str(fields["file_name"]).partition(".pdf")[0], fields["reference_page"]
            yield [f"{file}_{page}" for page in (pages if isinstance(pages, list) else [pages])]


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    return float(0.7 * (t.judged or 0.0) + 0.1 + 0.2 * t.ranked) if t.formed else 0.0
