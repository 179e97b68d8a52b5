"""The fine-tuning loop: a method applied to a model, its steps and checkpoints, and the geometry measured meanwhile."""
