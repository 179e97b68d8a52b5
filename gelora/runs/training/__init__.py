"""The fine-tuning loop: a method applied to a model, its steps, its checkpoints, the geometry measured meanwhile."""
