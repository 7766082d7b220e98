"""What verl 0.9.1 is changed in, in every process that builds a model: its key `model.external_lib` names this module.

- Parts of the model that the variable `VIRC_FROZEN` lists stay as they are, and rows without pictures can be computed
  (`virc.engines.verl.model`).
- Weights that are not finite are not saved: the run ends.
- The work of GLM-4V is not estimated: verl looks for the sizes of its language model in the wrong part of its config.
"""

from verl.utils.flops_counter import ESTIMATE_FUNC  # type: ignore[import-not-found]
from verl.workers.engine.fsdp import transformer_impl  # type: ignore[import-not-found]

from virc.engines.verl.model import frozen, mend_building, mend_saving

mend_building(transformer_impl, frozen())
mend_saving(transformer_impl.FSDPEngine)
ESTIMATE_FUNC.pop("glm4v", None)
