"""What a run learns: rows of a dataset -> model inputs, a head, a metric. One kind of task a file.

The face of the wing. Knows the sources; knows nothing of adapters, the training loop or processes.
"""

from gelora.tasks.task import Row, ShownExample, Task

__all__ = ["Row", "ShownExample", "Task"]
