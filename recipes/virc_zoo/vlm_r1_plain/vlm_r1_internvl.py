"""As `vlm_r1`, by internvl_module.py: boxes are in thousandths, and need no braces."""

from virc_zoo.vlm_r1.vlm_r1 import BOX, TERMS, terms, total, whole

__all__ = ("TERMS", "framed", "overlap", "total", "whole")
overlap, framed = terms("<think>", r"</think>\s*<answer>", BOX, "</answer>")
