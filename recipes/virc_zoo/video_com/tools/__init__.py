"""Video-CoM's manipulations, which are written as `FIND_SEGMENT(phrase) = [2]` and read by its own expressions.

One that names nothing that there is, is answered with the sentence that follows it, and nothing is shown.
Source: mbzuai-oryx/Video-CoM@b58b6ce, train/manipulation_model.py, take_action_manipulation, and manipulation_utils.py.
"""
