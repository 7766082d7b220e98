"""What verl 0.9.1 is changed in, in every process that builds a model: its key `model.external_lib` names this module.

- Parts of the model that the variable `VIRC_FROZEN` lists stay as they are, and rows without pictures can be computed
  (`virc.engines.verl.model`).
- Rollouts by transformers get the weights of an adapter and its base unrounded.
- Weights that are not finite are not saved, and a base without some of its weights is not trained: the run ends.
- An adapter on all linear layers leaves out the experts of GLM-4.5V, which peft adds: 1.8 billion parameters.
- The work of GLM-4V is not estimated: verl looks for the sizes of its language model in the wrong part of its config.
"""

from peft.utils import transformers_weight_conversion  # type: ignore[import-not-found]
from transformers import PreTrainedModel
from verl.utils.flops_counter import ESTIMATE_FUNC  # type: ignore[import-not-found]
from verl.workers.engine.fsdp import transformer_impl  # type: ignore[import-not-found]

from virc.engines.environment import refuse_missing_weights
from virc.engines.verl.model import frozen, mend_building, mend_saving
from virc.engines.verl.private import mend_merging

refuse_missing_weights(PreTrainedModel)
mend_building(transformer_impl, frozen())
mend_merging(transformer_impl)
mend_saving(transformer_impl.FSDPEngine)
transformers_weight_conversion.convert_peft_config_for_transformers = lambda *_, **__: None
ESTIMATE_FUNC.pop("glm4v", None)
