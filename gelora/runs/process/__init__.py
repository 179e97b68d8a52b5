"""Whose turn it is and in which process: runs started, queued, watched over, stopped and settled."""
