"""What is kept of a run: its folder, its state, its metrics and what it leaves, as records to write and to read."""
