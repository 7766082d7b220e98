r"""InSight-o3: a model that reasons describes regions, and a second one searches the picture for each of them.

Source: m-Just/InSight-doc@926d137, verl/experimental/agent_loop/insight_o3_agent_loop.py, VReasonerLoop, and
verl/utils/vsearch_gpt_async.py, as both are in evaluation: without the reasoner's feedback.
"""

import math
import re
from functools import partial
from pathlib import Path

from PIL import Image

from virc.systems import texts
from virc_extras.pipelines import Problem, Reply, Role, Roles, boxes, crop
from virc_zoo.delimiters import between
from virc_zoo.sized_pictures import resized

ROLES = {
    "reasoner": Role(temperature=1, max_tokens=2048, system="{text:reasoner}"),
    "searcher": Role(system="{text:system}"),
}
CALLS, TRIES = 6, 5
MOST = 1280**2
"""Pixels of a picture that the reasoner is shown."""
LEAST_SIDE, LEAST = 56, 112**2
text = partial(texts.text, Path(__file__).parent)


def solve(problem: Problem, roles: Roles) -> str:
    """Search for what the reasoner asks for until it answers; empty where it does not."""
    pictures = [resized(each.pixels, 0, MOST) for each in problem.images]
    reply = decided(roles, roles.reasoner.ask(pictures, problem.question, step="first"), text("form"))
    for number in range(1, CALLS + 1):
        region = described(reply)
        found = searched(problem, roles, region) if region is not None else None
        if found is None:
            break
        told = text("last" if number == CALLS else "shown" if found else "missing")
        reply = roles.reasoner.ask(found, told, after=reply, step="look")
        reply = decided(roles, reply, *([found, told] if number == CALLS else [text("form")]))
    return reply.rpartition(r"\boxed{")[2].partition("}")[0].strip() if r"\boxed{" in reply else ""


def decided(roles: Roles, reply: Reply, *told: str | list[Image.Image]) -> Reply:
    """A reply that asks for a region or answers, told as much at most `TRIES` - 1 times."""
    for _ in range(TRIES - 1):
        if described(reply) is not None or r"\boxed{" in reply:
            break
        reply = roles.reasoner.ask(*told, after=reply, step="again")
    return reply


def described(reply: str) -> str | None:
    """The region that a reply asks for."""
    found = re.search(r"(?s)region_description=.*?\{(.*)\}", next(between(reply, "<tool_call>", "</tool_call>"), ""))
    return found[1].strip() if found else None


def searched(problem: Problem, roles: Roles, region: str) -> list[Image.Image] | None:
    """The part of the picture that the searcher names; empty where it finds nothing, None where it says neither."""
    reply = roles.searcher.ask(problem.images[0], f"\nLocate {region}.\n{text('asked')}", step="search")
    for _ in range(CALLS):
        call = next(between(reply, "<tool_call>", "</tool_call>"), None)
        if call is None:
            break
        parts = [crop(each) for each in boxes(Reply(call, reply.turns, reply.seen), "pixel")]
        told = f"</tool_response>\n{text('asked')}"
        reply = roles.searcher.ask("<tool_response>", parts, told, after=reply, step="closer")
    said = reply.rpartition("<answer>")[2].partition("</answer>")[0].strip()
    if re.fullmatch(r"\[(\s*0\s*,){3}\s*0\s*\]", said):
        return []
    named = boxes(Reply(said, reply.turns, reply.seen), "pixel")
    return [enlarged(crop(named[0]).pixels)] if len(named) == 1 else None


def enlarged(part: Image.Image) -> Image.Image:
    """A part of a picture with 56 px along each side and 112 x 112 at least, and `MOST` at most."""
    scale = max(1, LEAST_SIDE / min(part.size), math.sqrt(LEAST / (part.width * part.height)))
    grown = part.resize((int(part.width * scale), int(part.height * scale)), Image.Resampling.LANCZOS)
    return resized(grown, 0, MOST)
