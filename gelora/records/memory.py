"""The record of what a training step needs in memory."""

from dataclasses import dataclass

from gelora.record_json import Record
from gelora.records.checks import check_range


@dataclass(frozen=True, slots=True, eq=False)
class MemoryEstimate(Record):
    """Device memory of one LoRA training step, in bytes; what each part holds, `gelora.ranks.memory_estimate` says.

    weights_bytes of base model, head and adapter; gradient_bytes and optimizer_bytes (AdamW's two moments) of what is
    trained; activation_bytes of what the forward pass keeps and the backward pass adds at its peak, logits_bytes being
    the part of them that a language model's logits and loss take (0 for a classifier).
    """

    weights_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    activation_bytes: int
    logits_bytes: int
    batch_size: int
    length: int
    dtype: str
    task: str
    gradient_checkpointing: bool

    @property
    def total_bytes(self) -> int:
        """All parts together: the peak, which is reached from the second step on."""
        return self.weights_bytes + self.gradient_bytes + self.optimizer_bytes + self.activation_bytes

    def fits(self, free_bytes: int, margin: float = 0.1) -> bool:
        """Whether a device with so many free bytes can take the step.

        Args:
            free_bytes: free before the model is loaded, such as the first number of `torch.cuda.mem_get_info()`.
            margin: share of the total that the allocator's rounding and the libraries' workspaces may take, at least 0.
        """
        check_range("free_bytes", free_bytes, 0)
        check_range("margin", margin, 0.0)
        return self.total_bytes * (1 + margin) <= free_bytes
