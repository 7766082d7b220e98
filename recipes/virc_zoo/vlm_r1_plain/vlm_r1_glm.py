"""As `vlm_r1`, by glm_module.py: boxes are in thousandths, any overlap counts, and any answer has the format."""

from virc_zoo.vlm_r1.vlm_r1 import TERMS, terms, total, whole

__all__ = ("TERMS", "framed", "overlap", "total", "whole")
overlap, framed = terms("<think>", "<answer>", "</answer>", least=0)
