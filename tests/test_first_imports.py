"""Threads of one fresh process that all need the big libraries at once: each gets what it asks for."""

import subprocess
import sys

THREADS = """
import sys, threading, traceback
import gelora

def structure():
    from gelora.sources import model_structure
    return model_structure("all-MiniLM-L6-v2")

def base_model():
    from gelora.sources import find_model, load_base_model
    return load_base_model(find_model("all-MiniLM-L6-v2"))

def classifier():
    from gelora.sources import find_model, load_classifier, load_tokenizer
    entry = find_model("all-MiniLM-L6-v2")
    return load_classifier(entry, load_tokenizer(entry), ("no", "yes"), seed=0)

def tokenizer():
    from gelora.sources import find_model, load_tokenizer
    return load_tokenizer(find_model("all-MiniLM-L6-v2"))

def decoder():
    from transformers import AutoConfig, AutoModelForCausalLM
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 10}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", num_key_value_heads=1, **sizes))

def adapters():
    from gelora.ranks import apply_plan, export_lora_config, module_scores, plan_from_adapter, resize_adapters
    return export_lora_config

def training():
    from gelora.runs.training import loop
    return loop

def estimator():
    from gelora.geometry import SkdimEstimator, synthetic
    return SkdimEstimator("fishers").fit(synthetic.sphere(200, 2, 4))

def hub_data():
    from datasets import load_dataset_builder
    return load_dataset_builder

kinds = [structure, structure, base_model, classifier, tokenizer, decoder, adapters, training, estimator, hub_data]
ready, failed = threading.Barrier(len(kinds)), []

def go(kind):
    ready.wait()
    try:
        assert kind() is not None
    except BaseException:
        failed.append(kind.__name__)
        traceback.print_exc()

threads = [threading.Thread(target=go, args=(kind,)) for kind in kinds]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
from transformers import modeling_utils
assert "__getattr__" not in vars(modeling_utils)  # what stays in its place is as transformers made it
sys.exit(f"failed: {failed}" if failed else 0)
"""


def test_every_first_import_at_once():
    ended = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


SCIPY_BESIDE_TORCH = """
import sys, threading
import gelora
import numpy as np
import scipy.special
from scipy._lib.array_api_compat import is_torch_array

loads = threading.Thread(target=__import__, args=("torch",))
loads.start()
while "torch" not in sys.modules:
    pass
assert "Tensor" not in vars(sys.modules["torch"])  # half loaded
assert not is_torch_array(np.ones(1))
loads.join()
import torch
assert is_torch_array(torch.ones(1)) and not hasattr(torch, "no_such_name")
"""


def test_scipy_meets_torch_half_loaded():
    ended = subprocess.run([sys.executable, "-c", SCIPY_BESIDE_TORCH], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
