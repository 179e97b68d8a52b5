"""The GeLoRA rule and its rivals: curves of dimensions, scores and budgets as ranks; arithmetic on records alone."""
