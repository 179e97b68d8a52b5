"""A model's config, tokenizer and weights, loaded from a local folder; code that comes with them is never run.

Does not depend on which models there are (`gelora.sources.catalog`).
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gelora.errors import GeloraError, InputError, ModelError
from gelora.home import check_readable
from gelora.records import check_choice
from gelora.sources.catalog import ModelEntry

if TYPE_CHECKING:
    from torch import nn

_DTYPES = ("float32", "float16", "bfloat16")


def load_config(entry: ModelEntry) -> Any:
    """The model's `transformers` config.

    Raises:
        ModelError: the config is damaged, of an unknown kind, or needs code of the model's own.
    """
    from transformers import AutoConfig

    with load_errors(entry, "config"):
        return AutoConfig.from_pretrained(entry.path, trust_remote_code=False, local_files_only=True)


def load_tokenizer(entry: ModelEntry) -> Any:
    """The model's tokenizer; one without a padding token (most decoders) pads with its end-of-text token.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    with load_errors(entry, "tokenizer"), quiet():
        tokenizer = AutoTokenizer.from_pretrained(entry.path, trust_remote_code=False, local_files_only=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.bos_token or tokenizer.unk_token
    return tokenizer


def load_base_model(entry: ModelEntry, dtype: str = "float32", device: str = "cpu") -> "nn.Module":
    """The model without a head, in evaluation mode.

    Args:
        entry: from `find_model`.
        dtype: "float32", "float16" or "bfloat16".
        device: what `torch` takes, such as "cpu" or "cuda".

    Raises:
        InputError: a local folder has no weights, or they cannot be read.
        ModelError: the weights are not those of the config, or the model needs code of its own.
    """
    check_choice("dtype", dtype, _DTYPES)
    import torch
    from transformers import AutoModel

    options: dict[str, Any] = {"use_safetensors": True} if entry.origin == "bundled" else {}
    with load_errors(entry, "weights"), quiet():
        model, found = AutoModel.from_pretrained(
            entry.path,
            dtype=getattr(torch, dtype),
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    _check_complete(entry, model, found["missing_keys"])
    loaded: nn.Module = model.eval().to(device)
    return loaded


def _check_complete(entry: ModelEntry, model: Any, missing: set[str]) -> None:
    """A pooler may be missing (it is not measured, and training makes one); a block may not: its states would be random."""
    from gelora.sources.structure import find_blocks

    path, _ = find_blocks(model)
    lacking = sorted(key for key in missing if key.startswith(f"{path}.") or "embed" in key)
    if lacking:
        raise ModelError(
            f"The weights of {entry.model_id} are not those of its config: {len(lacking)} are missing, such as {lacking[0]}. "
            "Choose another checkpoint."
        )


@contextmanager
def load_errors(entry: ModelEntry, what: str) -> Iterator[None]:
    """Turn what the libraries say of a damaged or unknown model into one sentence."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise InputError(f"The weights of {entry.model_id} in {entry.path} are damaged ({error}); fetch them again.") from error
    except (pickle.UnpicklingError, EOFError) as error:
        raise InputError(
            f"The weights of {entry.model_id} in {entry.path} are damaged or hold something else than tensors, and are not loaded; "
            "fetch them again, as safetensors where there are such."
        ) from error
    except GeloraError:
        raise
    except Exception as error:  # a stranger's files end in any error of the libraries that read them
        if "trust_remote_code" in str(error):
            raise ModelError(f"{entry.model_id} needs code of its own, which is never run here; choose another model.") from error
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            raise  # of the machine, not of the files; the caller knows what would fit
        if isinstance(error, OSError):
            _check_files(entry)
        lines = str(error).strip().splitlines() or [type(error).__name__]
        advice = "Install what is missing, or choose another model." if _lacks_package(error) else "Choose another model or fetch it again."
        raise ModelError(f"The {what} of {entry.model_id} cannot be loaded: {lines[0][:200]} {advice}") from error


def _check_files(entry: ModelEntry) -> None:
    for file in sorted(entry.path.glob("*")) if entry.path else ():
        if file.is_file():
            check_readable(file, ModelError)


def _lacks_package(error: BaseException) -> bool:
    """Whether a Python package is missing rather than a file wrong; transformers says so in a ValueError too."""
    return isinstance(error, ImportError) or "installed" in str(error)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and notes of transformers while it loads; as they were before, afterwards."""
    from transformers.utils import logging as transformers_logging

    level, had_bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if had_bars:
            transformers_logging.enable_progress_bar()
