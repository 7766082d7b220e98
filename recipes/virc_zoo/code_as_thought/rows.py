"""Rows of Code-as-Thought have pictures of 262,144 to 4,194,304 pixels, as EasyR1 brings them to where none is set."""

from functools import partial

from virc_zoo.sized_pictures import sized_rows

rows = partial(sized_rows, column="image", least=262_144, most=4_194_304)
