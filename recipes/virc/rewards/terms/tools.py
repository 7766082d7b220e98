"""Whether replies and their tool calls can be used, and what calls are worth."""

from virc.rewards import pictures, published
from virc.rewards.context import RewardContext
from virc.rewards.question import asks
from virc.rewards.sample import Sample
from virc.rewards.terms import term
from virc.rewards.terms.answers import answer


@term
def format(sample: Sample, context: RewardContext) -> float:
    """Whether the reply is in the format and its tool call can be carried out: 1 or 0.

    Source: the published reward gives -1 to what is not; `strict` says whose checks decide.
    """
    if sample.fault:
        sample.why["format"] = sample.fault
    return 0.0 if sample.fault else 1.0


@term
def looked(sample: Sample, context: RewardContext) -> float:
    """Whether the rollout looked at a region, and all its tool calls could be carried out: 1 or 0.

    Source: justgogorunrun/VLM-R3, src/r1-v/src/open_r1/rgrpo.py, repeat_reward: at least one box, and each piece of
    JSON that names a box is one. There a box need not lie in the image; here it must, or there is nothing to look at.
    """
    calls = sample.calls
    faults = [each.fault for each in calls if each.fault]
    if faults:
        sample.why["looked"] = faults[0]
    return float(not faults and any(each.call and each.call.box for each in calls))


@term
def shown(sample: Sample, context: RewardContext) -> float:
    """How many images tools have shown in the rollout up to this reply.

    Totals make a bonus of it. Source: Visual-Agent/DeepEyes, verl/utils/reward_score/vl_agent.py, which counts the
    images that tools put into a completion.
    """
    return float(sum(each.shown is not None for each in sample.prompt.calls))


@term
def ran(sample: Sample, context: RewardContext) -> float:
    """The share of the rollout's tool calls up to this reply that were carried out without an error; 0 without a call.

    Source: yfzhang114/Thyme@b9285b7 and We-Math/V-Thinker@77a5ab8, agent_rm.py, code_check: of the outputs of the
    sandbox, those that do not have its error text. They give 0 where there is no answer, too, which is up to the total.
    """
    calls = [each for each in sample.calls if each.tool]
    faults = [each.fault for each in calls if each.fault]
    if faults:
        sample.why["ran"] = faults[-1]
    return (len(calls) - len(faults)) / len(calls) if calls else 0.0


@term
async def tool_bonus(sample: Sample, context: RewardContext) -> float | None:
    """Whether the answer is right after a tool has shown an image: 1 or 0; of answers only.

    What is right, `answer` says, with a judge where there is one.
    Source: Visual-Agent/DeepEyes, verl/utils/reward_score/vl_agent.py, which gives 1.2 for it, and 0.4 in an older
    version that does not look at the answer.
    """
    right = await answer(sample, context)
    return None if right is None else float(right > 0.5 and shown(sample, context) > 0)


@term
def tool_choice(sample: Sample, context: RewardContext) -> float | None:
    """Whether the reply calls the tool that the reference calls: 1 or 0; of tool calls only.

    Source: the published reward. Where the reference answers, every call scores 0.
    """
    if sample.kind != "tool" or sample.call is None:
        return None
    wanted = sample.prompt.reference_tool
    sample.why["tool_choice"] = f"the reference calls {wanted}" if wanted else "the reference calls no tool"
    return float(sample.call.name == wanted)


@term
@asks()
async def focus(sample: Sample, context: RewardContext) -> float | None:
    """How well a tool call looks at what its thought says: a judge's score, 0 to 1.

    0 where the result of the call cannot be shown. Source: the published reward, which shows the judge the first image,
    the question, the answer, the thought and the image that the call leads to.
    """
    if sample.kind != "tool" or sample.turn is None or sample.call is None:
        return None
    judge, prompt = context.asked(), sample.prompt
    texts = {"question": prompt.question, "answer": prompt.key.reference, "latest": sample.turn.think}
    try:
        result = pictures.result(sample.call, prompt)
    except ValueError as error:  # an image of aspect 200 may be shown a little longer than that
        sample.why["focus"] = str(error)
        return 0.0
    found = await judge.ask("focus", texts, [pictures.as_shown(prompt, 0), result], published.read_focus)
    sample.why["focus"] = found.why
    return found.value


@term
@asks()
async def reasoning(sample: Sample, context: RewardContext) -> float | None:
    """How good the thought of a tool call is after the thoughts before it: a judge's score, 0 to 1.

    Source: the published reward, which shows the judge the first image, the question, the answer and the thoughts.
    """
    if sample.kind != "tool" or sample.turn is None:
        return None
    prompt = sample.prompt
    texts = {
        "question": prompt.question,
        "answer": prompt.key.reference,
        "earlier": " ".join(prompt.thoughts),
        "latest": sample.turn.think,
    }
    found = await context.asked().ask("reasoning", texts, [pictures.as_shown(prompt, 0)], published.read_reasoning)
    sample.why["reasoning"] = found.why
    return found.value
