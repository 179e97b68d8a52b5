"""The errors that a person can cause or meet. Every message says what was given, what is legal and what to do next.

Does not depend on models, data or pages.
"""

from gelora.masking import without_secrets


class GeloraError(Exception):
    """Base of all errors whose message is written for the person at the screen.

    The command line prints the message and exits with status 2; a page shows it in place of the result. Passwords and
    tokens are left out of it.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(without_secrets(message))


class InputError(GeloraError):
    """An argument, option, file or JSON text is not what it has to be."""


class DataError(GeloraError):
    """The data was read, but cannot carry the computation (too few rows, all equal, NaN labels, one class)."""


class ModelError(GeloraError):
    """The model was found, but has no shape that can be measured or adapted."""


class HubError(GeloraError):
    """A hub id cannot be fetched: no network, unknown id, or no access."""


class ChecksumError(GeloraError):
    """A bundled file is not the published one."""


class StoreError(GeloraError):
    """State under GELORA_HOME cannot be read or written (full disk, no permission, damaged file)."""


class RunError(GeloraError):
    """A fine-tuning run cannot be started, found, stopped or finished."""


class RunUnderWay(RunError):
    """A run of an equal spec is queued or running, and no repeat was asked for; `run_id` says which."""

    def __init__(self, message: str, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class Cancelled(GeloraError):
    """The person asked a long computation to stop; raised by progress callbacks."""
