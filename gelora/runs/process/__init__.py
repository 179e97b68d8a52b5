"""Run processes: started, queued, stopped, and their status, that of a process which died included."""
