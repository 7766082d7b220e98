"""The reward of AutoTool's last steps: that of `autotool`, with the same factor for both modes."""

from virc_zoo.autotool import autotool

TERMS = autotool.TERMS
judged, orderly, viewed, mode = autotool.judged, autotool.orderly, autotool.viewed, autotool.mode
total, whole = autotool.total, autotool.whole
