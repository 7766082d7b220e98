"""The keys of LLaMA-Factory in a stage of kind `dpo`: those of `engines.llamafactory.table`, and these."""

from collections.abc import Mapping

from virc.engines.llamafactory.table import TABLE as SUPERVISED
from virc.engines.table import Table, fixed, follows, same, unused

READS: Mapping[str, tuple[str, ...]] = {
    "sigmoid": ("pref_loss", "pref_beta", "pref_ftx", "pref_bco_weight", "dpo_label_smoothing"),
    "kto": ("pref_beta", "pref_ftx", "kto_chosen_weight", "kto_rejected_weight"),
    "orpo": ("pref_loss", "pref_beta", "pref_ftx"),
    "simpo": ("pref_loss", "pref_beta", "pref_ftx", "simpo_gamma"),
}
"""Loss -> the keys of preferences that LLaMA-Factory reads for it."""

TABLE = Table({
    **SUPERVISED.keys,
    "stage": follows("loss"),
    "pref_loss": follows("loss"),
    "pref_beta": same("beta"),
    "pref_ftx": same("ftx"),
    "pref_bco_weight": same("bco_weight"),
    "dpo_label_smoothing": same("label_smoothing"),
    "simpo_gamma": same("simpo_gamma"),
    "kto_chosen_weight": same("chosen_weight"),
    "kto_rejected_weight": same("rejected_weight"),
    "ref_model": fixed("it is what the stage starts from", "base",
                       why="named, since a resumed run would compare with its own checkpoint"),
    "ref_model_adapters": fixed("it is what the stage starts from", "base",
                                why="else an adapter would be compared with the model without it"),
    "ld_alpha": unused("LLaMA-Factory weighs the model's log-probabilities by it and not the reference's"),
})  # fmt: skip
OWN = TABLE.own()
"""Key that a user cannot set -> the setting that it follows from, or the reason."""
