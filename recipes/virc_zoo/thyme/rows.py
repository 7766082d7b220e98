"""Conversations of Thyme get the system message that its script names (scripts/sft_stage1.sh, --system)."""

from functools import partial
from pathlib import Path

from virc_zoo.v_thinker import rows as v_thinker

rows = partial(v_thinker.rows, own=Path(__file__).parent)
