#!/usr/bin/env bash
# Version: the converter of llama.cpp in the source archive of llama-cpp-python 0.3.36 and the runtime of xllamacpp 2026.10.11549, against
#   transformers 5.24.0 with torch 2.13.0.
# Behaviour: of InternVL, llama.cpp puts the class token behind the patches, and the converter leaves its position in front in the table:
#   each patch has the position of the one before it. The first token of a small random model is over a nat off; with the table
#   rolled by one row before it is converted, it is as transformers has it.
# A guess: what llama.cpp's own tools convert and run is the model that was published, but for rounding.
# Hurts: who runs InternVL as GGUF, and most where places count: reading, counting, boxes. Nothing fails, and replies look like replies.
# It takes two minutes of a processor and 1.5 GB with a build of torch for CPUs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.24.0 torch==2.13.0 numpy==2.4.6 pillow==12.3.0 sentencepiece==0.2.3 \
    requests==2.34.2 xllamacpp==2026.10.11549
cd "$folder"
venv/bin/pip download --quiet --no-deps --no-binary :all: llama-cpp-python==0.3.36
tar xzf llama_cpp_python-0.3.36.tar.gz
cat >made.py <<'END'
"""Writes a random InternVL in its makers' form, and once more with rolled positions; and what transformers says of a picture."""

import json
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import InternVLConfig, InternVLForConditionalGeneration, PreTrainedTokenizerFast

MAKERS = {
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
    "model.vision_tower.": "vision_model.",
    "cls_token": "class_embedding",
    "patch_embeddings.projection": "patch_embedding",
    "position_embeddings": "position_embedding",
    r"encoder.layer\.": "encoder.layers.",
    "attention.projection_layer": "attn.proj",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "lambda_": "ls",
    "model.multi_modal_projector.layer_norm": "mlp1.0",
    "model.multi_modal_projector.linear_1": "mlp1.1",
    "model.multi_modal_projector.linear_2": "mlp1.3",
}


def of_makers(weights):
    found = {}
    for name, weight in weights.items():
        for ours, makers in MAKERS.items():
            name = re.sub(ours, makers, name)
        found[name] = weight.contiguous()
    for name in [each for each in found if ".attention.q_proj." in each]:
        parts = [found.pop(name.replace("q_proj", f"{each}_proj")) for each in "qkv"]
        found[name.replace("attention.q_proj", "attn.qkv")] = torch.cat(parts)
    return found


letters = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "Wh"]
bytewise = Tokenizer(models.BPE({each: at for at, each in enumerate(letters)}, [("W", "h")]))
bytewise.pre_tokenizer, bytewise.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
bytewise.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"])
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=bytewise,
    eos_token="<|im_end|>",
    pad_token="<|endoftext|>",
    chat_template="{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}<|im_start|>assistant",
)
prompt = "<|im_start|>user\n<img>" + "<IMG_CONTEXT>" * 4 + "</img>What is it?<|im_end|>\n<|im_start|>assistant"
ids = tokenizer(prompt, return_tensors="pt").input_ids

text = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": len(tokenizer), "hidden_size": 64}
text |= {"intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
text |= {"max_position_embeddings": 512, "tie_word_embeddings": False, "rms_norm_eps": 1e-6, "eos_token_id": 259}
vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2, "patch_size": 14}
vision |= {"image_size": 56, "hidden_act": "gelu", "norm_type": "layer_norm", "layer_norm_eps": 1e-6}
seen = {"image_token_id": 262, "image_seq_length": 4, "downsample_ratio": 0.5, "tie_word_embeddings": False}
config = InternVLConfig(text_config=text, vision_config={**vision, "attention_bias": True}, **seen)
torch.manual_seed(0)
network = InternVLForConditionalGeneration(config).eval()
with torch.no_grad():
    for weight in network.parameters():
        if weight.ndim > 1:
            weight.normal_(std=0.3)
    pixels = np.random.default_rng(0).integers(0, 256, (56, 56, 3), np.uint8)
    Image.fromarray(pixels).save("picture.png")
    values = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    logits = network(input_ids=ids, pixel_values=values).logits[0, -1]
Path("said.json").write_text(json.dumps({"tokens": ids.shape[1], "logs": torch.log_softmax(logits, -1).tolist()}))

makers = {"architectures": ["InternVLChatModel"], "model_type": "internvl_chat", "downsample_ratio": 0.5, "llm_config": text}
makers["vision_config"] = {**vision, "architectures": ["InternVisionModel"], "model_type": "intern_vit_6b", "qkv_bias": True}
table = network.model.vision_tower.embeddings.position_embeddings
for name, rows in (("published", 0), ("rolled", -1)):
    table.data = table.data.roll(rows, 1)
    tokenizer.save_pretrained(name)
    save_file(of_makers(network.state_dict()), f"{name}/model.safetensors", {"format": "pt"})
    Path(name, "config.json").write_text(json.dumps(makers))
    Path(name, "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 56}))
END
cat >convert.py <<'END'
import sys

sys.path.insert(0, "llama_cpp_python-0.3.36/vendor/llama.cpp")
import convert_hf_to_gguf
from conversion.base import TextModel

TextModel.get_vocab_base_pre = lambda *_: "qwen2"  # it knows published tokenizers alone, and this one is too small to be one
convert_hf_to_gguf.main()
END
{
    venv/bin/python made.py
    venv/bin/python convert.py published --outfile text.gguf --outtype f32
    for name in published rolled; do
        venv/bin/python convert.py $name --mmproj --outfile $name.gguf --outtype f32
    done
} >log 2>&1 || { cat log; exit 1; }
venv/bin/python - 2>/dev/null >seen <<'END'
import base64
import json
import os
import secrets
from pathlib import Path

import xllamacpp

expected = json.loads(Path("said.json").read_text())
url = "data:image/png;base64," + base64.b64encode(Path("picture.png").read_bytes()).decode()
question = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}]
request = {"messages": [{"role": "user", "content": question}], "max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 5}
servers = []
for name in ("published", "rolled"):
    params = xllamacpp.CommonParams()
    params.model.path, params.mmproj.path, params.n_ctx = "text.gguf", f"{name}.gguf", 512
    params.warmup, params.verbosity, params.n_gpu_layers, params.mmproj_use_gpu = False, 0, 0, False
    params.port, params.api_keys = 0, [secrets.token_urlsafe(32)]
    servers.append(xllamacpp.Server(params))
    answer = servers[-1].handle_chat_completions(request)
    assert answer["usage"]["prompt_tokens"] == expected["tokens"]
    first = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    apart = max(abs(each["logprob"] - expected["logs"][each["id"]]) for each in first)
    print(f"{name}:", "over 1 nat" if apart > 1 else "under 0.05 nats" if apart < 0.05 else apart, flush=True)
os._exit(0)  # its servers are not waited for
END
cat seen
diff seen - <<'END'
published: over 1 nat
rolled: under 0.05 nats
END
