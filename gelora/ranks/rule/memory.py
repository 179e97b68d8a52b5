"""What one LoRA training step of a plan needs in a device's memory, by arithmetic on the model's shapes.

Pure arithmetic on records; does not depend on torch or the device. What a plan costs in parameters, `budget` says.
"""

from collections import defaultdict
from collections.abc import Sequence

from gelora.errors import InputError
from gelora.ranks.rule.budget import BYTES_PER_PARAM, OPTIMIZER_BYTES_PER_PARAM
from gelora.records import BlockTraits, MemoryEstimate, ModelStructure, RankPlan, TargetModule, check_choice, check_whole

MEMORY_TASKS = ("classification", "causal-lm")

_BYTES_OF_DTYPE = {"float32": 4, "bfloat16": 2, "float16": 2}
_ATTENTION = ("q", "k", "v", "qkv")
# Tensors of the feed-forward width that a nonlinearity keeps. The fused ones keep their input (or output); those that
# the library writes out in Python keep a tensor for every step: x * sigmoid(1.702 x), 0.5 x (1 + tanh(c (x + a x^3))).
_KEPT_BY_ACTIVATION = {"quick_gelu": 3, "gelu_new": 4, "gelu_fast": 6, "gelu_python": 3, "relu2": 2}


def memory_estimate(
    plan: RankPlan | int,
    structure: ModelStructure,
    *,
    batch_size: int,
    length: int,
    dtype: str = "float32",
    n_head_params: int = 0,
    task: str = "classification",
    gradient_checkpointing: bool = False,
) -> MemoryEstimate:
    """Device memory of a training step (forward, backward, AdamW) of LoRA on a model whose own weights are frozen.

    Weights are those of the base model in `dtype`, of the head (twice: PEFT keeps the untrained one beside the trained;
    a pooler is a part of the head where the classifier has one, and otherwise not there) and of the adapter in float32,
    in which PEFT keeps it. Gradients and AdamW's two moments are those of adapter and head.

    Activations, for T = batch_size * length tokens, b bytes a number in `dtype`, in each block from the first adapted one
    on (nothing before it needs a gradient). A frozen linear map keeps nothing, since its gradient needs its weight alone:

    - every norm keeps its input: T * hidden_size * b, or * 4 where it is computed in float32 step by step (RMSNorm);
    - fused attention keeps query, key, value and output, T * (3 + 1) * width * b with keys and values repeated for every
      head (a fused map with rotary positions two more), the mask as numbers, T * length * b, and 4 T * n_heads of
      log-sums; unfused attention keeps the probabilities instead, in float32 and in `dtype`: T * length * n_heads *
      (4 + b), no copy if b = 4, and b more where scores are capped or have a part by relative position;
    - a feed-forward network of width F keeps T * F * b for its nonlinearity, 3 T * F * b where it is gated; experts the
      same for each of the experts that a token sees, and their outputs;
    - dropout on the residual stream keeps its two masks, T * hidden_size bytes each;
    - an adapted map keeps its input in float32: 4 T * in_features, once for maps that read the same float32 tensor, and
      4 T * r behind A. Adapted parameters of experts keep the whole sum of weight and update.

    At the peak, logits of T * vocab_size numbers take b + 12 bytes each in a causal language model: as given, as float32
    log-probabilities and as two gradients; otherwise the gradients inside one block. With gradient checkpointing blocks
    keep T * hidden_size * b each, and one block at a time the rest. Quantities are those of a padded batch of full length.

    Not counted: CUDA's own context (0.3 to 0.5 GB, taken before memory is free to be asked for), the allocator's
    rounding, autocast (which would keep a copy of every weight), state-space and convolution layers.

    Args:
        plan: the ranks; or a number of trainable parameters, at least 0, which are then taken to be adapters of every
            attention projection.
        structure: of the plan's model, from `model_structure`.
        batch_size: texts in a step, at least 1.
        length: tokens in a text, padding included, at least 1.
        dtype: of the frozen weights and of the activations: float32, bfloat16 or float16.
        n_head_params: parameters trained beside the adapter, at least 0.
        task: classification (one vector a text), or causal-lm (logits for every token).
        gradient_checkpointing: whether blocks are computed again in the backward pass.

    Raises:
        InputError: an argument is illegal, the plan is another model's, or the structure was saved without traits.

    Source: Korthikanti et al. 2022, "Reducing activation recomputation in large transformer models", section 4.1 (the
        same count for training of all weights, where linear maps keep their inputs).
    """
    check_whole("batch_size", batch_size, 1)
    check_whole("length", length, 1)
    check_whole("n_head_params", n_head_params, 0, None)
    check_choice("dtype", dtype, tuple(_BYTES_OF_DTYPE))
    check_choice("task", task, MEMORY_TASKS)
    if structure.traits is None:
        raise InputError(f"The structure of {structure.model_id} was saved without what memory depends on; read it again from the model.")
    ranks = _ranks(plan, structure)
    n_adapter = plan.n_adapter_params if isinstance(plan, RankPlan) else plan
    b, n_tokens = _BYTES_OF_DTYPE[dtype], batch_size * length
    modules: dict[int, list[TargetModule]] = defaultdict(list)
    for module in structure.modules:
        modules[module.block].append(module)
    adapted = [module.block for module in structure.modules if ranks.get(module.name)]
    first = 1 if gradient_checkpointing else min(adapted, default=structure.n_layers + 1)
    numbers = range(1, structure.n_layers + 1)
    of_block = {number: _kept_by_block(modules[number], structure, ranks, b, n_tokens, length) for number in numbers}
    stream = n_tokens * structure.hidden_size * b
    if gradient_checkpointing:
        kept = stream * structure.n_layers + max(of_block.values(), default=0)
    else:
        kept = sum(kept for number, kept in of_block.items() if number >= first)
    is_lm = task == "causal-lm"
    logits = n_tokens * structure.vocab_size * (b + 12) if is_lm else 0
    n_base = structure.n_params + (structure.n_lm_head_params if is_lm else 0)
    if is_lm or n_head_params:
        n_base -= structure.n_pooler_params
    return MemoryEstimate(
        weights_bytes=b * (n_base + 2 * n_head_params) + BYTES_PER_PARAM * n_adapter,
        gradient_bytes=BYTES_PER_PARAM * n_adapter + b * n_head_params,
        optimizer_bytes=OPTIMIZER_BYTES_PER_PARAM * n_adapter + 2 * b * n_head_params,
        activation_bytes=2 * stream + kept + max(logits, n_tokens * _widest(list(modules.values())) * (b + 4)),
        logits_bytes=logits,
        batch_size=batch_size,
        length=length,
        dtype=dtype,
        task=task,
        gradient_checkpointing=gradient_checkpointing,
    )


def _ranks(plan: RankPlan | int, structure: ModelStructure) -> dict[str, float]:
    if isinstance(plan, RankPlan):
        names = {module.name for module in structure.modules}
        strange = [name for name in plan.ranks if name not in names]
        if strange:
            raise InputError(f"The plan was made for {plan.model_id}, which has {strange[0]}; {structure.model_id} has no such module.")
        return {name: float(rank) for name, rank in plan.ranks.items() if rank > 0}
    check_whole("The number of trainable parameters", plan, 0, None)
    attention = [module for module in structure.modules if module.kind in (*_ATTENTION, "o")]
    if not plan or not attention:
        return {}
    return dict.fromkeys((module.name for module in attention), plan / sum(module.n_params_per_rank for module in attention))


def _kept_by_block(
    modules: Sequence[TargetModule], structure: ModelStructure, ranks: dict[str, float], b: int, n_tokens: int, length: int
) -> int:
    """Bytes that a block keeps for the backward pass."""
    traits = structure.traits
    assert traits is not None
    hidden = structure.hidden_size
    per_token: float = traits.n_norms * hidden * (4 if traits.norms_upcast else b)
    per_token += _attention(modules, traits, b, length)
    per_token += _feed_forward(modules, traits, hidden) * b
    if traits.dropout > 0:
        per_token += 2 * hidden
    whole_weights = sum(m.n_experts * m.in_features * m.out_features * b for m in modules if m.n_experts > 1 and m.name in ranks)
    return round(n_tokens * (per_token + _adapters(modules, traits, ranks, hidden, b)) + whole_weights)


def _attention(modules: Sequence[TargetModule], traits: BlockTraits, b: int, length: int) -> float:
    queries = sum(m.out_features for m in modules if m.kind == "q")
    keys = sum(m.out_features for m in modules if m.kind == "k")
    width = sum(m.in_features for m in modules if m.kind == "o") or queries
    if not width:
        return 0
    kept = 4 * width * b + (4 * (queries + keys) if traits.head_norms else 0)
    if traits.rotary and queries == keys == 0:  # turned copies beside the fused map's output, of which the values are a part
        kept += 2 * width * b
    if traits.n_kept_scores == 0:
        return kept + 4 * traits.n_heads + length * b
    return kept + length * traits.n_heads * (4 + (0 if b == 4 else b) + (traits.n_kept_scores - 1) * b)


def _feed_forward(modules: Sequence[TargetModule], traits: BlockTraits, hidden: int) -> float:
    """Numbers a token that the feed-forward network and the experts keep."""
    kept = 0.0
    for kind, times in (("mlp", 1), ("expert", traits.n_experts_per_token)):
        maps = [module for module in modules if module.kind == kind]
        if kind == "expert" and not any(module.n_experts > 1 for module in maps):  # every expert is a module of its own
            maps = _first_expert(maps)
        down = sum(module.in_features for module in maps if module.out_features == hidden)
        gated = _is_gated(maps, hidden)
        by_activation = _KEPT_BY_ACTIVATION.get(traits.activation, 1)
        kept += times * down * (by_activation + 2 if gated else by_activation)
        kept += times * hidden if kind == "expert" and maps else 0
    return kept


def _adapters(modules: Sequence[TargetModule], traits: BlockTraits, ranks: dict[str, float], hidden: int, b: int) -> float:
    """Bytes a token that adapters keep: their inputs in float32, and what is behind A."""
    inputs: dict[str, float] = {}
    kept = 0.0
    dense = [module for module in modules if module.kind == "mlp"]
    for module in modules:
        r = ranks.get(module.name)
        if r is None:
            continue
        kept += 0 if module.n_experts > 1 else 4 * r
        if module.n_experts > 1:
            kept += traits.n_experts_per_token * module.in_features * b
        elif b < 4:
            inputs[module.name] = 4 * module.in_features  # each adapter casts the input for itself
        elif module.kind in _ATTENTION:
            inputs["attention"] = max(inputs.get("attention", 0), 4 * module.in_features)
        elif module.kind == "mlp" and module.in_features == hidden:
            inputs["feed-forward"] = 4 * hidden
        elif module.kind == "o" and traits.n_kept_scores == 0:
            continue  # the attention keeps its output already
        elif module.kind == "mlp" and traits.activation == "relu" and not _is_gated(dense, hidden):
            continue  # so does this nonlinearity
        else:
            inputs[module.name] = 4 * module.in_features
    return kept + sum(inputs.values())


def _is_gated(maps: Sequence[TargetModule], hidden: int) -> bool:
    """Whether two maps (or one of twice the width) lead from the hidden size into the feed-forward network."""
    into = sum(module.out_features for module in maps if module.in_features == hidden)
    return into > 1.5 * sum(module.in_features for module in maps if module.out_features == hidden)


def _first_expert(maps: Sequence[TargetModule]) -> list[TargetModule]:
    """The maps of one expert: the first of each name."""
    return list({module.name.rpartition(".")[2]: module for module in reversed(maps)}.values())


def _widest(blocks: Sequence[Sequence[TargetModule]]) -> int:
    """The largest sum of widths that the backward pass holds a gradient of at once: that of the feed-forward maps' outputs."""
    inner = [sum(m.out_features for m in block if m.kind in ("mlp", "expert")) for block in blocks]
    single = [max((m.out_features for m in block), default=0) for block in blocks]
    return max((*inner, *single), default=0)
