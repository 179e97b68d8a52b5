"""How many parameters a model's sequence-classification head has: what is trained and saved whole beside an adapter.

Works from the config alone, on the meta device. Does not depend on weights, adapters or training.
"""

from gelora.records import check_whole
from gelora.sources.structure import base_model_of, collector_paused, poolers_of, without_weights


def head_size(model_id: str, n_labels: int = 2) -> int:
    """Parameters of a sequence classifier that are trained and saved beside the adapter: its head and its pooler.

    They are those outside of the base model, which a base checkpoint lacks, and those of a pooler inside it: what
    `gelora.ranks.modules_to_save` names.

    Args:
        model_id: what `find_model` takes.
        n_labels: outputs of the head, at least 1 (1 for regression).

    Raises:
        HubError, InputError, ChecksumError: the model cannot be found, see `find_model`.
        ModelError: there is no sequence classifier of this type.
    """
    check_whole("n_labels", n_labels, 1)
    with collector_paused():
        from gelora.sources.catalog import find_model
        from gelora.sources.loading import load_config

        config = load_config(find_model(model_id, weights=False))
        config.num_labels = n_labels
        model = without_weights(config, "AutoModelForSequenceClassification")
    base = base_model_of(model)
    poolers = {id(parameter) for pooler in poolers_of(base) for parameter in pooler.parameters()}
    frozen = {id(parameter) for parameter in base.parameters()} - poolers
    return sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in frozen)
