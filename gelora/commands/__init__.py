"""What each command does: a few library calls, their answer as a table for a person or JSON for a machine.

Does not depend on how anything is computed or how options are spelled. What a command needs is loaded when
it runs, so that `gelora --help` stays quick.
"""

from gelora.commands.adapters import compress, inspect
from gelora.commands.comparing import compare
from gelora.commands.dashboard import dashboard
from gelora.commands.listing import runs
from gelora.commands.machine import doctor
from gelora.commands.measuring import calibrate, estimators, measure, sensitivity
from gelora.commands.options import strategy_names
from gelora.commands.planning import plan
from gelora.commands.previewing import preview
from gelora.commands.racing import race
from gelora.commands.run_specs import training_fields
from gelora.commands.running import resume, stop, train
from gelora.commands.similarity import similarity
from gelora.commands.studying import study

__all__ = [
    "calibrate",
    "compare",
    "compress",
    "dashboard",
    "doctor",
    "estimators",
    "inspect",
    "measure",
    "plan",
    "preview",
    "race",
    "resume",
    "runs",
    "sensitivity",
    "similarity",
    "stop",
    "strategy_names",
    "study",
    "train",
    "training_fields",
]
