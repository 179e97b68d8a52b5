"""The campaign of faults: kills, odd input, full disks, hostile files and crowds, and what becomes of runs and answers."""
