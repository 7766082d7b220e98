"""What a stage of kind `dpo` needs: supervised training on both sides of a pair, with a reference and with all logits.

Written from LLaMA-Factory 0.9.5: its collator puts both sides of each pair into one batch, it turns liger's fused loss
off, and it computes the reference's log-probabilities while the model's pass is still held (`CustomDPOTrainer`).
"""

import msgspec

from virc.models.sizes import Shape
from virc.stages.dpo import Config
from virc.training.estimate.activations import Term, Work, term_of
from virc.training.estimate.sft import USUAL, Estimate, among, of_work, people

_HELD = {True: 16, False: 14}
"""Bytes of a logit at the fullest moment. With a reference, while it passes: both models' logits in float32 and their
log-softmax. Without, in the backward pass: the log-softmax, its gradient, that of the shifted logits in float32, and in
the model's precision."""
_FORWARD = 1 / 3
"""A forward pass, as a share of forward and backward."""


def estimate(
    config: Config,
    shape: Shape,
    longest_tokens: int,
    rows: int | None = None,
    total_tokens: int | None = None,
    image_tokens: int | None = None,
    gpu: str = USUAL,
) -> Estimate:
    """Count what a stage needs; arguments as of `estimate.sft.estimate`, `longest_tokens` of the longest side."""
    both = msgspec.structs.replace(
        config, micro_batch_size_per_device=config.sides * config.micro_batch_size_per_device
    )
    work = Work.of(both, shape, min(longest_tokens, config.cutoff_len), image_tokens)
    further = [_reference(work)] if config.referred and not config.lora else []
    # The reference passes forward; in KTO both models pass over another reply besides, to see how far they are apart.
    extra = 0.0 if not config.referred else _FORWARD * (3 if config.loss == "kto" else 1)
    return of_work(work, logits(work, config), config, rows, total_tokens, gpu, further, 1 + extra)


def logits(work: Work, config: Config) -> Term:
    """The numbers of the last layer, of all words for every token, and what the loss makes of them."""
    words, each = work.shape.text.vocab_size, _HELD[config.referred]
    formula = f"{work.tokens:,} tokens of {config.sides} sides x {words:,} words x {each} bytes"
    return term_of("logits", each * work.tokens * words, formula)


def _reference(work: Work) -> Term:
    """The weights of the reference; a CPU that computes in float32 has them so."""
    parameters, over = work.trained + work.frozen, work.devices if work.config.zero == 3 else 1
    formula = f"{people(parameters)} parameters x {work.frozen_bytes} bytes{among(over)}"
    return term_of("reference weights", parameters * work.frozen_bytes / over, formula)
