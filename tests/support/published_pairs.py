"""Three pairs in each published layout of `published.yaml`."""

from support.published import writer

QUESTION = "Which number is in the square?"
NAMES = ("llamafactory", "critic_v", "critique_vqa", "trl", "trl_plain", "trl_implicit", "texts", "mmpr", "visrl")
critique_vqa, mmpr, visrl = map(writer, ("critique_vqa", "mmpr", "visrl"))
