"""Rows of ThinkLite-VL have pictures of 262,144 to 4,194,304 pixels, as EasyR1 brought them to at that time.

Source: hiyouga/EasyR1@39cab8f, examples/config.yaml, and verl/utils/dataset.py, process_image.
"""

from functools import partial

from virc_zoo.sized_pictures import sized_rows

rows = partial(sized_rows, column="image", least=262_144, most=4_194_304)
