"""Rows of Vision-G1 have pictures of 200,704 to 1,003,520 pixels; smaller ones are enlarged by the nearest pixel.

Source: yuh-zha/Vision-G1@1f2c30f, training/verl/utils/dataset/rl_dataset.py, process_image.
"""

from functools import partial

from PIL import Image

from virc_zoo.sized_pictures import sized_rows

rows = partial(sized_rows, column="images", least=200_704, most=1_003_520, enlarging=Image.Resampling.NEAREST)
