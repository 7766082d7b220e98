#!/usr/bin/env bash
# Version: transformers 5.24.0 with torch 2.13.0.
# Behaviour: MiniCPMV4_6ForConditionalGeneration has no `logits_to_keep`: `generate` computes the logits of all tokens of a prompt, of
#   which it uses the last. Qwen 3.5, whose language model it has, computes those of one.
# A guess: to read a prompt costs a model's logits once, as in most families of pictures and text.
# Hurts: who gives it long prompts, many pictures or large batches: of 32,768 tokens the logits alone are 16 GB in bfloat16 where the
#   vocabulary has 248,320 tokens (Qwen 3.5's), in place of half a megabyte.
# It takes a minute of a processor and 1 GB with a build of torch for CPUs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.24.0 torch==2.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
import torch
from transformers import MiniCPMV4_6Config, MiniCPMV4_6ForConditionalGeneration, Qwen3_5Config, Qwen3_5ForConditionalGeneration

text = {"vocab_size": 500, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 16}
text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "layer_types": ["full_attention"] * 2, "eos_token_id": None}
small = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 4}
minicpm = MiniCPMV4_6Config(text_config={"model_type": "qwen3_5_text", **text}, vision_config=small)
qwen = Qwen3_5Config(text_config=text, vision_config={"depth": 1, "hidden_size": 64, "num_heads": 4, "out_hidden_size": 64})
for kind, config in ((Qwen3_5ForConditionalGeneration, qwen), (MiniCPMV4_6ForConditionalGeneration, minicpm)):
    network = kind(config).eval()
    shapes = []
    network.lm_head.register_forward_hook(lambda _, __, logits: shapes.append(tuple(logits.shape)))
    prompt = torch.arange(1, 301)[None]
    network.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=2, do_sample=False)
    print(kind.__name__, *shapes)
END
cat seen
diff seen - <<'END'
Qwen3_5ForConditionalGeneration (1, 1, 500) (1, 1, 500)
MiniCPMV4_6ForConditionalGeneration (1, 300, 500) (1, 1, 500)
END
