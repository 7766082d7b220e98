"""ProReason: a model that cannot see asks one that can for facts, and one that reasons, until it can answer.

Source of each text and value: lian-tian-mo-zun/Pro_Reason, commit edcfc72e9d0f, folder ProReason_HallusionBench/ProReason.
P is Sub_Agent_Prompt.py, M is ProReason.py.
"""

import re

from virc.solving.pipelines import Problem, Role, Roles, fill

# P, REASONING_EXPERT_PROMPT
PROFESSOR = """You are a polytechnic college professor.
Use the following format:

Reasoning: Perform a step-by-step process of reasoning to solve a problem.
Final Answer: The final answer you get when you have finished reasoning."""
ROLES = {"eyes": Role(temperature=1), "mind": Role(temperature=1), "professor": Role(temperature=1, system=PROFESSOR)}

# P, get_dispatcher_prompt
PLAN = """You currently need to address the following questions: 

"{question}"The information you need is in an image, but you can't see the image right now.
At the same time, you're not capable of complex reasoning.

However, you can can consult the following two EXPERTs for help:
1. Vision Expert: You can ask him for information in the picture, for example, you could ask him, "What color is the bird in the picture?"
2. Reasoning Expert: You can ask him to get the results of complex reasoning, e.g. you can ask him, "What is the acceleration produced by a 1N force applied to a 1KG object?"

To solve this problem, which EXPERT do you think you should consult now??

Use the following format:
{
'Thought':'analyze the problem here.',
'EXPERT name':'The name of the EXPERT you choose should be one of Vision Expert and Reasoning Expert',
'Question':'Questions you want to ask the EXPERT'
}{known}"""

# M, run_ProReason
LOOK = """Please answer the following questions step by step:
{asked}"""

# P, get_reasoning_expert_prompt
THINK = """The following is the available information:
{memory}Please solve the following problems step by step:{asked}"""

# P, get_referee_prompt
JUDGE = """My current QUESTION that needs to be addressed is: 
"{question}"
The information I know is: {memory}
Return CAN_SOLVE if you think QUESTION can be resolved with known information. Otherwise return UNSOLVABLE.
Use the following format:

Thought: Conduct an analysis before you give me an answer.
Answer: the action to take, should be one of ['CAN_SOLVE', 'UNSOLVABLE']"""

# P, get_summarizer_prompt
SUMMARISE = """My current question that needs to be addressed is: 
{question}
I can not see the image, but I know the information in the image is as follows: 
{memory}{judgement}
Give me the answer."""


# M, extract_dict: each line between those of the braces is an entry; its last two characters, of the last one its last, are
# taken off.
ENTRIES = r"(?s)\A[^{]*\{[^\n]*\n((?:[^\n]*': ?'[^\n]*\n)+)[^\n]*\}[^}]*\Z"
ASKED = r"(?m)^.'*Question': ?'((?:(?!': ?').)*?)(?:..(?=(?:': ?'.*)?\n.)|.(?=(?:': ?'.*)?\n\Z))"
EXPERT = r"(?m)^.'*EXPERT name': ?'(Vision Expert|Reasoning Expert)(?:..(?=(?:': ?'.*)?\n.)|.(?=(?:': ?'.*)?\n\Z))"
# M, extract_final_answer: without the mark, it takes off as many characters as that has, but for one.
FINAL = r"(?s)\A(?:.*?Final Answer:|.{0,12})\s*(.*)"
SOLVED = "Answer: CAN_SOLVE"
ROUNDS = 8


def solve(problem: Problem, roles: Roles) -> str:
    """Ask experts until what is known is enough, then sum up; else ask the eyes directly."""
    question, memory, last, judgement = problem.question, "", "", ""
    for _ in range(ROUNDS):
        known = f"The last expert you chose was {last} and the information you know currently is as follows:\n{memory}"
        plan = roles.mind.ask(fill(PLAN, question=question, known=known if memory else ""), step="plan")
        asked, expert = request(plan)
        judgement = ""
        if not expert:
            continue
        if "Vision" in expert:
            found: str = roles.eyes.ask(problem.images, fill(LOOK, asked=asked), step="seen")
        else:
            thought = roles.professor.ask(fill(THINK, memory=memory, asked=asked), step="thought")
            found = first(FINAL, thought) or ""
        memory += f"{found}\n"
        last = expert
        judgement = roles.mind.ask(fill(JUDGE, question=question, memory=memory), step="judgement")
        if SOLVED in judgement:
            return roles.mind.ask(
                fill(SUMMARISE, question=question, memory=memory, judgement=judgement), step="summary"
            )
    return roles.eyes.ask(problem.images, question, step="direct")


def request(plan: str) -> tuple[str, str]:
    """What a plan asks, and which expert; empty where it says neither."""
    entries = first(ENTRIES, plan)
    asked = None if entries is None else first(ASKED, entries)
    return (asked, first(EXPERT, entries) or "") if entries is not None and asked is not None else ("", "")


def first(pattern: str, text: str) -> str | None:
    """The first group of the first match; None where nothing matches."""
    found = re.search(pattern, text)
    return found[1] if found else None
