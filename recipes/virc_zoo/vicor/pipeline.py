"""ViCor: a language model reasons from a caption; where it is unsure, it says what is to be looked at.

Source: arXiv:2310.05872, section 4, as reviews have it, and figure 2, of eric-ai-lab/ViCor@82e53da, which has no code:
reasoning from the caption with a check of confidence; else the problem is classified as one of understanding, which the
model that sees answers, or of inference, for which the language model names visual factors, has the model that sees
asked about them, and reasons again. The words of the prompts are our own.
"""

import re

from virc_extras.pipelines import Problem, Role, Roles, fill

ROLES = {"eyes": Role(max_tokens=256), "mind": Role(max_tokens=512)}

CAPTION = "Describe this picture in one or two sentences."
REASON = """A picture is described so: {caption}{clues}

Question: {question}

You cannot see the picture. Think about the question in a few sentences. Then write a last line: `Answer:` and the answer, with its letter alone if the choices have letters{unsure}."""
UNSURE = ", or `Answer: unsure` if the description does not say enough to be certain"
CLASSIFY = """Question about a picture: {question}

Which kind of question is this?
U: what is literally seen in the picture answers it.
I: something that is not seen has to be inferred from the picture by common sense.
Reply with U or I alone."""
LOOK = """{question}

Answer by what the picture shows: with the letter of one choice alone, with one choice if they have no letters, or in a few words if there are none."""
FACTORS = """A picture is described so: {caption}

Question: {question}

Which things that one could see in the picture would help to infer the answer? Ask about each of them in a line of its own, at most 3 questions, each of which somebody who sees the picture can answer in a few words. Reply with the questions alone."""
CLUE = "{asked} Answer in a few words."
MOST_CLUES = 3
_ANSWER = re.compile(r"(?im)^\W*answer\W*:[ *_]*(.*?)[ *_]*$")


def solve(problem: Problem, roles: Roles) -> str:
    """Answer from the caption where that is enough, else by the eyes, or from clues that the mind asks for."""
    question = problem.question
    caption = roles.eyes.ask(problem.images, CAPTION, step="caption")
    first = roles.mind.ask(
        fill(REASON, caption=caption, clues="", question=question, unsure=UNSURE), step="first reasoning"
    )
    if (answer := answered(first)) is not None:
        return answer
    kind = roles.mind.ask(fill(CLASSIFY, question=question), step="kind")
    if kind.strip().upper().startswith("U"):
        return roles.eyes.ask(problem.images, fill(LOOK, question=question), step="seen")
    factors = roles.mind.ask(fill(FACTORS, caption=caption, question=question), step="factors")
    asked = [line.strip("-*• \t") for line in factors.splitlines() if line.strip()][:MOST_CLUES]
    clues = [(each, roles.eyes.ask(problem.images, fill(CLUE, asked=each), step="clue")) for each in asked]
    told = "".join(f"\n{each} {clue}" for each, clue in clues)
    last = roles.mind.ask(
        fill(REASON, caption=caption, clues=told, question=question, unsure=""), step="last reasoning"
    )
    return answered(last) or last


def answered(reply: str) -> str | None:
    """What stands behind the last `Answer:`; None without it, or where that is `unsure`."""
    found = _ANSWER.findall(reply)
    return found[-1] if found and found[-1] and not re.match(r"\W*unsure\b", found[-1], re.IGNORECASE) else None
