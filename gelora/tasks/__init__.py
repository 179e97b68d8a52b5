"""What a run learns: rows of a dataset -> model inputs, a head, a metric. One kind of task a file.

The face of the wing. Uses the sources; does not depend on adapters, the training loop or processes. What needs torch is
loaded when a task is built, so that this face stays light.
"""

from gelora.tasks.build import build_task
from gelora.tasks.columns import Proposal, propose, propose_for
from gelora.tasks.encoding import IGNORED
from gelora.tasks.presets import PRESETS, Preset, PresetChoice, apply_preset, preset_of
from gelora.tasks.task import Row, ShownExample, Task

__all__ = [
    "IGNORED",
    "PRESETS",
    "Preset",
    "PresetChoice",
    "Proposal",
    "Row",
    "ShownExample",
    "Task",
    "apply_preset",
    "build_task",
    "preset_of",
    "propose",
    "propose_for",
]
