"""Rows of Perception-R1 have pictures of 3,136 to 1,806,336 pixels.

Source: tongxiao2002/Perception-R1@c47eaf2, examples/run_qwen2_5_vl_7b_geo3k_visual_swanlab.sh, and
verl/utils/dataset.py, process_image.
"""

from functools import partial

from virc_zoo.sized_pictures import sized_rows

rows = partial(sized_rows, column="images", least=3_136, most=1_806_336)
