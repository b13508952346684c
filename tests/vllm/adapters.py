"""A LoRA adapter for the demo's small model, made up on the spot: random weights that change what it says."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

HIDDEN = 128
LAYERS = 2
RANK = 8
MODULES = ("q_proj", "v_proj")


def write_adapter(folder: Path) -> Path:
    """In PEFT's format; the same one every time."""
    torch.manual_seed(0)
    weights = {}
    for layer in range(LAYERS):
        for module in MODULES:
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            weights[f"{name}.lora_A.weight"] = torch.randn(RANK, HIDDEN)
            weights[f"{name}.lora_B.weight"] = torch.randn(HIDDEN, RANK) / 10
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": RANK,
        "target_modules": list(MODULES),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
