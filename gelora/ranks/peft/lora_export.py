"""A plan's LoraConfig for people who have no model in memory: applied by PEFT to the model's config before it is given out.

Finds the model by the plan's own id, on the meta device; does not depend on how the config is then written or shown.
"""

from typing import Any

from peft import LoraConfig
from transformers.models.auto import modeling_auto

from gelora.errors import HubError, InputError
from gelora.ranks.peft.lora import check_config, to_lora_config
from gelora.records import RankPlan
from gelora.sources import find_model, is_decoder_type, load_config, without_weights


def export_lora_config(plan: RankPlan) -> tuple[LoraConfig, str | None]:
    """The plan's config with names relative to the base model, and a sentence where it could not be checked.

    PEFT applies it on the meta device to the bare model and to the model under a head of its kind, and has to make exactly
    the planned modules, ranks, alphas and parameters in both.

    Args:
        plan: its `model_id` says which model's config is read.

    Returns:
        The config, and None; or a sentence that the model's config is not on this machine, so that nothing was checked.

    Raises:
        ModelError: PEFT makes other adapters of it; the sentence names modules.
    """
    config = to_lora_config(plan)
    try:
        model_config: Any = load_config(find_model(plan.model_id, weights=False))
    except (HubError, InputError) as error:
        return config, f"PEFT has not tried this config, since the config of {plan.model_id} is not at hand ({error})"
    for auto_class in _auto_classes(str(model_config.model_type)):
        check_config(config, plan, without_weights(model_config, auto_class))
    return config, None


def _auto_classes(model_type: str) -> list[str]:
    if is_decoder_type(model_type):
        return ["AutoModel", "AutoModelForCausalLM"]
    has_classifier = model_type in modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    return ["AutoModel", *(["AutoModelForSequenceClassification"] if has_classifier else [])]
