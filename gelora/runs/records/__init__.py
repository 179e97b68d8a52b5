"""What is kept of a run: its folder, state, metrics, provenance and outputs, as records to write and to read."""
