"""The sources wing: where the vectors come from.

The catalog of models and datasets, samples of texts, a model's structure, hidden states. Names load their file when
first used, so that asking for a dataset does not load torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gelora.sources.at_hand import (
        HubFacts as HubFacts,
        data_at_hand as data_at_hand,
        hub_facts as hub_facts,
        model_at_hand as model_at_hand,
        models_fetched as models_fetched,
        states_kept as states_kept,
    )
    from gelora.sources.block_jacobian import BlockJacobian as BlockJacobian, probe_block as probe_block
    from gelora.sources.catalog import (
        BUNDLED_DATASET as BUNDLED_DATASET,
        BUNDLED_MODEL as BUNDLED_MODEL,
        DatasetEntry as DatasetEntry,
        ModelEntry as ModelEntry,
        bundled_datasets as bundled_datasets,
        bundled_models as bundled_models,
        find_model as find_model,
        hub_name as hub_name,
    )
    from gelora.sources.cell_values import has_text as has_text, is_missing as is_missing
    from gelora.sources.column_roles import mean_length as mean_length, text_columns as text_columns
    from gelora.sources.file_bytes import ENCODINGS as ENCODINGS, decoded as decoded, kind_of as kind_of, unpacked as unpacked
    from gelora.sources.files import FILE_ENDINGS as FILE_ENDINGS, READABLE as READABLE, names_a_file as names_a_file
    from gelora.sources.head_sizes import head_size as head_size
    from gelora.sources.heads import (
        HeadedModel as HeadedModel,
        load_causal_lm as load_causal_lm,
        load_classifier as load_classifier,
        load_question_answerer as load_question_answerer,
        longest_input as longest_input,
    )
    from gelora.sources.hidden_states import extract_hidden_states as extract_hidden_states
    from gelora.sources.hub import is_offline as is_offline, is_reachable as is_reachable
    from gelora.sources.label_values import LabelColumn as LabelColumn, read_labels as read_labels
    from gelora.sources.loading import load_base_model as load_base_model, load_config as load_config, load_tokenizer as load_tokenizer
    from gelora.sources.padding import suited_to as suited_to
    from gelora.sources.preview import DataPreview as DataPreview, preview_dataset as preview_dataset, preview_of as preview_of
    from gelora.sources.row_states import rows_depend_on_padding as rows_depend_on_padding, states_of_rows as states_of_rows
    from gelora.sources.samples import (
        load_sample as load_sample,
    )
    from gelora.sources.structure import (
        base_model_of as base_model_of,
        find_blocks as find_blocks,
        is_decoder_type as is_decoder_type,
        model_structure as model_structure,
        structure_of as structure_of,
        without_weights as without_weights,
    )
    from gelora.sources.table_labels import LabelledRows as LabelledRows, labelled_rows as labelled_rows, text_key as text_key
    from gelora.sources.tables import (
        Table as Table,
        read_table as read_table,
    )
    from gelora.sources.target_choice import TARGETS as TARGETS, select_modules as select_modules
    from gelora.sources.target_kinds import expert_shape as expert_shape
    from gelora.sources.token_rows import DrawnToken as DrawnToken, drawn_tokens as drawn_tokens
    from gelora.sources.tokenized import TokenizedSample as TokenizedSample, tokenize as tokenize
    from gelora.sources.weights import block_weights as block_weights

_FILE_OF = {
    **dict.fromkeys(("BlockJacobian", "probe_block"), "block_jacobian"),
    "block_weights": "weights",
    **dict.fromkeys(("HubFacts", "data_at_hand", "hub_facts", "model_at_hand", "models_fetched", "states_kept"), "at_hand"),
    **dict.fromkeys(("is_offline", "is_reachable"), "hub"),
    **dict.fromkeys(("BUNDLED_DATASET", "BUNDLED_MODEL", "DatasetEntry", "ModelEntry", "bundled_datasets", "bundled_models"), "catalog"),
    **dict.fromkeys(("find_model", "hub_name"), "catalog"),
    **dict.fromkeys(("load_base_model", "load_config", "load_tokenizer"), "loading"),
    **dict.fromkeys(("HeadedModel", "load_causal_lm", "load_classifier", "load_question_answerer", "longest_input"), "heads"),
    **dict.fromkeys(("extract_hidden_states",), "hidden_states"),
    **dict.fromkeys(("suited_to",), "padding"),
    **dict.fromkeys(("DataPreview", "preview_dataset", "preview_of"), "preview"),
    **dict.fromkeys(("LabelColumn", "read_labels"), "label_values"),
    **dict.fromkeys(("LabelledRows", "labelled_rows", "text_key"), "table_labels"),
    **dict.fromkeys(("rows_depend_on_padding", "states_of_rows"), "row_states"),
    **dict.fromkeys(("load_sample", "stratified"), "samples"),
    **dict.fromkeys(("base_model_of", "find_blocks", "is_decoder_type", "model_structure", "structure_of", "without_weights"), "structure"),
    **dict.fromkeys(("TARGETS", "select_modules"), "target_choice"),
    **dict.fromkeys(("expert_shape",), "target_kinds"),
    **dict.fromkeys(("head_size",), "head_sizes"),
    **dict.fromkeys(("Table", "read_table"), "tables"),
    **dict.fromkeys(("FILE_ENDINGS", "READABLE", "names_a_file"), "files"),
    **dict.fromkeys(("mean_length", "text_columns"), "column_roles"),
    **dict.fromkeys(("ENCODINGS", "decoded", "kind_of", "unpacked"), "file_bytes"),
    **dict.fromkeys(("has_text", "is_missing"), "cell_values"),
    **dict.fromkeys(("DrawnToken", "drawn_tokens"), "token_rows"),
    **dict.fromkeys(("TokenizedSample", "tokenize"), "tokenized"),
}

__all__ = sorted(_FILE_OF)


def __getattr__(name: str) -> Any:
    if name in _FILE_OF:
        return getattr(importlib.import_module(f"gelora.sources.{_FILE_OF[name]}"), name)
    raise AttributeError(f"module 'gelora.sources' has no attribute {name!r}")
