"""Tiny random transformers with a tokenizer each, made from configs, for tests: no network, no download, milliseconds.

Every one is saved as a base checkpoint without a head, as the hub's pretrained encoders are. Knows nothing of gelora.
"""

import functools
import hashlib
import os
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

ARCHITECTURES = ("bert", "roberta", "deberta-v2", "distilbert", "modernbert", "gpt2", "opt", "llama", "phi", "qwen2", "gemma")
EXTRA_ARCHITECTURES = ("qwen3", "gemma2", "phi3", "gpt_neox", "mixtral", "albert", "bloom", "xmod", "roberta-prelayernorm")
PADDING_DEPENDENT = ("fnet", "nystromformer", "convbert")

N_LAYERS = 3
HIDDEN_SIZE = 32
MAX_POSITIONS = 128
VOCAB_SIZE = 320

# The tokenizers are byte-level BPE, which takes any text, trained on these lines so that common words are short.
SENTENCES = (
    "The quick brown fox jumps over the lazy dog while the children watch from the garden gate.",
    "A good film needs a story, and this one has a very good story with a bad ending.",
    "Return the mean of the values along the given axis, ignoring those which are missing.",
    "The company said on Tuesday that its profit had fallen by more than ten percent.",
    "She opened the door, looked at the rain and decided that she would not go out today.",
    "I would not recommend this product to anyone; the battery died after two weeks.",
    "The food was great, the service was slow and the place was too loud for a talk.",
    "Compute the distance between each pair of points and return a matrix of the same shape.",
    "There are many reasons to believe that the second answer is better than the first.",
    "When the train arrived at the station the people were already waiting on the platform.",
)

# Per family: the special tokens by role, in the order of their ids, and how one text and a pair of texts are framed.
_BERT = (
    {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
    "[CLS] $A [SEP]",
    "[CLS] $A [SEP] $B:1 [SEP]:1",
)
_ROBERTA = (
    {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"},
    "<s> $A </s>",
    "<s> $A </s> </s> $B </s>",
)
_DEBERTA = ({"pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "unk": "[UNK]", "mask": "[MASK]"}, *_BERT[1:])
_ENDOFTEXT = ({"bos": "<|endoftext|>"}, None, None)
_FAMILIES = {
    "bert": _BERT,
    "distilbert": _BERT,
    "modernbert": (_BERT[0], "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]"),
    "albert": _BERT,
    "deberta-v2": _DEBERTA,
    "roberta": _ROBERTA,
    "roberta-prelayernorm": _ROBERTA,
    "fnet": _BERT,
    "nystromformer": _BERT,
    "convbert": _BERT,
    "xmod": _ROBERTA,
    "bloom": _ENDOFTEXT,
    "gpt2": _ENDOFTEXT,
    "phi": _ENDOFTEXT,
    "phi3": _ENDOFTEXT,
    "gpt_neox": _ENDOFTEXT,
    "qwen2": ({"eos": "<|endoftext|>"}, None, None),
    "qwen3": ({"eos": "<|endoftext|>"}, None, None),
    "opt": ({"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}, "</s> $A", "</s> $A </s> $B"),
    "llama": ({"unk": "<unk>", "bos": "<s>", "eos": "</s>"}, "<s> $A", "<s> $A $B"),
    "mixtral": ({"unk": "<unk>", "bos": "<s>", "eos": "</s>"}, "<s> $A", "<s> $A $B"),
    "gemma": ({"pad": "<pad>", "eos": "<eos>", "bos": "<bos>", "unk": "<unk>"}, "<bos> $A", "<bos> $A <bos> $B"),
    "gemma2": ({"pad": "<pad>", "eos": "<eos>", "bos": "<bos>", "unk": "<unk>"}, "<bos> $A", "<bos> $A <bos> $B"),
}
_WITH_TOKEN_TYPES = ("bert", "albert", "deberta-v2", "fnet")


def tiny_config(architecture: str, **changes: object) -> PreTrainedConfig:
    """Config of a 3-block, 32-wide, 4-head model; `changes` are config options that replace the tiny ones."""
    specials = list(_FAMILIES[architecture][0])
    ids = {role: specials.index(role) for role in specials}
    no_pad = ids.get("eos", ids.get("bos"))
    options: dict[str, object] = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": HIDDEN_SIZE,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": MAX_POSITIONS,
        "initializer_range": 0.2,  # at a width of 32, states then differ between texts and between blocks
        "pad_token_id": ids.get("pad", no_pad),
        "bos_token_id": ids.get("bos", ids.get("cls", no_pad)),
        "eos_token_id": ids.get("eos", ids.get("sep", no_pad)),
    }
    options |= {
        "roberta": {"max_position_embeddings": MAX_POSITIONS + 2, "type_vocab_size": 1},
        "roberta-prelayernorm": {"max_position_embeddings": MAX_POSITIONS + 2, "type_vocab_size": 1},
        "xmod": {
            "max_position_embeddings": MAX_POSITIONS + 2,
            "type_vocab_size": 1,
            "languages": ["en_XX"],
            "default_language": "en_XX",
        },
        "bloom": {"n_layer": N_LAYERS, "n_head": 4},
        "deberta-v2": {
            "relative_attention": True,
            "position_buckets": 16,
            "pos_att_type": ["p2c", "c2p"],
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
        "distilbert": {"dim": HIDDEN_SIZE, "n_layers": N_LAYERS, "n_heads": 4, "hidden_dim": 64},
        "modernbert": {"local_attention": 16, "cls_token_id": ids.get("cls"), "sep_token_id": ids.get("sep")},
        "gpt2": {"n_embd": HIDDEN_SIZE, "n_layer": N_LAYERS, "n_head": 4, "n_positions": MAX_POSITIONS},
        "opt": {"ffn_dim": 64, "word_embed_proj_dim": HIDDEN_SIZE, "init_std": 0.2},
        "llama": {"num_key_value_heads": 2},
        "mixtral": {"num_key_value_heads": 2, "num_local_experts": 2, "num_experts_per_tok": 1},
        "qwen2": {"num_key_value_heads": 2},
        "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
        "gemma": {"num_key_value_heads": 1, "head_dim": 8},
        "gemma2": {"num_key_value_heads": 1, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16},
        "phi3": {"num_key_value_heads": 2},
        "albert": {"embedding_size": 16},
        "convbert": {"embedding_size": 16},
    }.get(architecture, {})
    if architecture in ("distilbert", "gpt2", "bloom"):  # their configs have names of their own for these
        for name in ("num_hidden_layers", "num_attention_heads", "intermediate_size"):
            options.pop(name)
    if architecture in ("distilbert", "gpt2"):
        options.pop("hidden_size")
    return AutoConfig.for_model(architecture, **(options | changes))


def tiny_model(architecture: str, seed: int = 0, **changes: object) -> PreTrainedModel:
    """Random base model (no head) in evaluation mode; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModel.from_config(tiny_config(architecture, **changes)).eval()


@functools.cache
def _trained_tokenizer(architecture: str) -> str:
    specials, single, pair = _FAMILIES[architecture]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(specials.values()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if single is not None:
        used = [(token, tokenizer.token_to_id(token)) for token in specials.values()]
        tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=used)
    return tokenizer.to_str()


def tiny_tokenizer(architecture: str) -> PreTrainedTokenizerFast:
    """Byte-level BPE tokenizer with the special tokens and the framing of the family.

    As on the hub, GPT-2, Phi, Qwen and Llama shapes have no padding token.
    """
    specials = {f"{role}_token": token for role, token in _FAMILIES[architecture][0].items()}
    if "bos_token" in specials and "eos_token" not in specials:
        specials["eos_token"] = specials["bos_token"]
    if _FAMILIES[architecture] is _ROBERTA:
        specials |= {"cls_token": "<s>", "sep_token": "</s>"}
    names = ["input_ids", "token_type_ids", "attention_mask"] if architecture in _WITH_TOKEN_TYPES else ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained_tokenizer(architecture)),
        model_max_length=MAX_POSITIONS,
        model_input_names=names,
        **specials,
    )


def save_tiny_model(architecture: str, folder: Path, seed: int = 0, **changes: object) -> Path:
    """Write model and tokenizer into `folder` as files that AutoModel and AutoTokenizer load; returns `folder`."""
    tiny_model(architecture, seed, **changes).save_pretrained(folder)
    tiny_tokenizer(architecture).save_pretrained(folder)
    return folder


def save_as_hub_cache(architecture: str, model_id: str, hub_cache: Path, seed: int = 0) -> Path:
    """Lay the model out as `hub_cache` (the folder of HF_HUB_CACHE) would hold it after a download of `model_id`.

    Returns the snapshot folder; its name is the revision.
    """
    repository = hub_cache / ("models--" + model_id.replace("/", "--"))
    revision = hashlib.sha1(f"{model_id} {architecture} {seed}".encode()).hexdigest()
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    snapshot = save_tiny_model(architecture, repository / "snapshots" / revision, seed)
    blobs = repository / "blobs"  # as the hub does it: files are links to blobs named by their content
    blobs.mkdir()
    for file in sorted(snapshot.iterdir()):
        blob = blobs / hashlib.sha256(file.read_bytes()).hexdigest()
        file.replace(blob)
        file.symlink_to(os.path.relpath(blob, snapshot))
    return snapshot
