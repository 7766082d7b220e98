"""The reward of Code-as-Thought by hand: its paper has the formulas, and its program could not be read."""

import asyncio
import time

import pytest

from virc.core.errors import DataError
from virc.data.rows.record import Message, Record
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.context import RewardContext
from virc.rewards.sample import Prompt, Sample, sample
from virc_zoo.code_as_thought import code_as_thought as reward

CSV = "\nYear, Sales \n2020,100\n2021\n\n2022,7.5\n"
TABLE = "{'year': [2020, 2021, 2022], 'sales': [100.9, None, 7.5]}"


def read(reply: str, suits: str = "high") -> Sample:
    record = Record((Message("user", "?"),), id="1", question="?", answer="7",
                    extra={"programmability": suits, "csv": CSV})  # fmt: skip
    return sample(reply, Prompt(record))


def reward_of(reply: str, suits: str = "high") -> float | None:
    said = read(reply, suits)
    return asyncio.run(
        rollouts.score([said], rollouts.ends(said), rewards.find("code_as_thought"), RewardContext())
    ).total


def coded(table: str, before: str = "", name: str = "chart_data") -> str:
    return f"<CODE>\n```python\nimport pandas as pd\n{before}\n{name} = pd.DataFrame({table})\n```\n"


@pytest.mark.parametrize(
    ("reply", "suits", "worth"),
    [
        (coded(TABLE) + r"\boxed{7}", "high", 0.8 + 0.3 + 0.15 + 0.05),
        (coded(TABLE) + r"\boxed{8}", "High", 0.15 + 0.15 + 0.05),
        (coded(TABLE) + r"\boxed{7}", "low", 0.8 + 0.15 + 0.05),
        (r"<DIRECT> \boxed{7}", "low", 0.8 + 0.3 + 0.05),
        (r"<DIRECT> \boxed{7}", "high", 0.8 + 0.05),
        (r"It is \boxed{7}, by <DIRECT>", "low", 0.8 + 0.05),  # it begins with no strategy
        ("<DIRECT> 7", "low", 0.15),
        ("\n" + r"<DIRECT> \boxed{6} or \boxed{7", "low", 0.15),  # the last box has no end
    ],
)
def test_each_part_of_a_reply_has_its_weight(reply: str, suits: str, worth: float) -> None:
    assert reward_of(reply, suits) == pytest.approx(worth)


@pytest.mark.parametrize(
    ("reply", "worth"),
    [
        (coded("{'yeer': [2020, 2021, 2022]}", "years[0] = 2020"), 0.1 + 0.1 + 0.7),  # a similar name
        (coded("{'year': [2020, 2021, 2022, 2023]}"), 0.1 + 0.7),
        (coded("{'year': years}", "years = [2020, 2021, 2022]\nyears = list(reversed(years))"), 0),  # is no constant
        (coded("{'year': [2020, 2021, 2022], 'q': [1, 2, 3]}"), 0.1 + 0.1 + 0.7),
        (coded("{'year': [2020, 2021], 'SALES': [102, 0]}"), 0.2 + 0.7 * (1 + 0) / 2),
        (coded("{'q': [1, 2, 3]}"), 0.1),
        (coded("{'q': [1, 2]}"), 0),
        (coded("[[2020, 100], [2021, np.nan], [2022, 7.5]], columns=['Year', 'Sales']"), 1),
        (coded("[{'year': 2020, 'sales': 100}, {'year': 2021, 'sales': None}, {'year': 2022, 'sales': 8}]"),
         0.3 + 0.7 * (1 + 2 / 3) / 2),
        (coded("{'year': years, 'sales': values}", "years = 2020, 2021, 2022\nvalues = [100, None, 7.5]"), 1),
        (coded("{'q': [1]}", name="other") + coded(TABLE), 1),
        (coded(TABLE) + coded("{'q': [1]}", name="other"), 1),  # its name comes first
        (coded("{'year': list(range(2020, 2023))}"), 0),
        (coded("{'year': [2020, 2021], 'sales': [1]}"), 0),
        (coded("{'year': [[2020], [2021], [2022]]}"), 0),
        (coded(TABLE).replace("```python", ""), 0),
        (coded(TABLE + ")("), 0),
        (coded("2020"), 0),
        (coded("[{'year': 2020}, {'sales': 1}]"), 0),
        (coded("{'year': [2020, 2021, 2022], 'sales': [0x" + "f" * 5000 + ", 0, 0]}"), 0),  # Python cannot write it
        (coded(""), 0),
        ("<DIRECT>" + coded(TABLE), 0),
    ],
)  # fmt: skip
def test_a_table_in_code_is_held_against_that_of_the_row(reply: str, worth: float) -> None:
    assert reward.data(read(reply), RewardContext()) == pytest.approx(worth)


def test_a_row_says_whether_code_suits_it() -> None:
    with pytest.raises(DataError, match="neither high nor low"):
        asyncio.run(reward.decision(read("<CODE>", "some"), RewardContext()))


@pytest.mark.parametrize(
    "code",
    [
        "a0 = [1, 2]\n" + "\n".join(f"a{at + 1} = [a{at}, a{at}]" for at in range(60)) + "\nx = DataFrame({'a': a60})",
        "a = [" + "1," * 9000 + "]\nx = DataFrame([" + "a," * 9000 + "], columns=a)",
        "a = [" + "1," * 9000 + "]\nx = DataFrame({'': [], " + ", ".join(f"'{at}': a" for at in range(5000)) + "})",
        "d = {'a': 1}\nx = DataFrame([" + "d," * 9000 + "], columns=[" + "'a'," * 9000 + "])",
        "x = DataFrame(" + "[" * 9000,
        "x = DataFrame({'a': [" + "-" * 9000 + "1]})",
        "x = a" + ".b" * 9000 + ".DataFrame({})",
    ],
)
def test_code_that_grows_when_it_is_read_costs_nothing(code: str) -> None:
    started = time.process_time()
    assert reward.data(read(f"<CODE>\n```python\n{code}\n```"), RewardContext()) == 0
    assert time.process_time() - started < 5
