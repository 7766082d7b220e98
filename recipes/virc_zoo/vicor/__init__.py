"""ViCor: a language model that asks a model which sees for the clues that it lacks."""
