"""The records that flow along the path: Sample -> HiddenStates -> NeighborGraph -> IdProfile -> RankPlan -> Run.

Axis words, used everywhere: n_samples rows of data, n_layers transformer blocks (a curve has n_layers + 1 points,
index 0 the embedding output, index i the output of block i), hidden_size the width, n_neighbors the k of a graph.
Blocks are numbered from 1, as the curve's points are. Does not depend on models, files or charts.
"""

from gelora.records.checks import (
    DEVICES,
    INITS_OF_BASE,
    LORA_INITS,
    METHODS,
    METHODS_WITH_PLAN,
    MOST_SEED,
    POINTS,
    POOLINGS,
    PRECISIONS,
    ROUNDINGS,
    SEPARATOR_WORDS,
    SINKS,
    TASK_KINDS,
    TASKS,
    Progress,
    check_choice,
    check_name,
    check_range,
    check_whole,
    resolve_device,
)
from gelora.records.data import WITHOUT_PADDING, DataChoice, HiddenStates, ReadReport, Sample, SampleSource
from gelora.records.geometry import HALVES, IdEstimate, IdProfile, NeighborGraph, ScaleCurve
from gelora.records.memory import MemoryEstimate
from gelora.records.model import BLOCK_HALVES, BlockTraits, ModelStructure, TargetModule
from gelora.records.plans import AlsoTrained, Budget, RankPlan
from gelora.records.race import FEW_SEEDS, RACING_TASKS, RaceSpec, arm_name, check_task_can_race, with_inits
from gelora.records.scores import SCORE_DEFINITIONS, SCORE_STRATEGIES, ModuleScores
from gelora.records.similarity import LayerSimilarity
from gelora.records.sinks import ONE_DIRECTION, SINK_RATIO, SINK_RATIOS, SinkReport, default_sinks, legal_sinks, resolved_sinks
from gelora.records.study import BlockTable, NotRun, Study, StudyRow
from gelora.records.training import RunSpec, TrainingConfig, lone_run, race_run

__all__ = [
    "BLOCK_HALVES",
    "DEVICES",
    "FEW_SEEDS",
    "HALVES",
    "INITS_OF_BASE",
    "LORA_INITS",
    "METHODS",
    "METHODS_WITH_PLAN",
    "MOST_SEED",
    "ONE_DIRECTION",
    "POINTS",
    "POOLINGS",
    "PRECISIONS",
    "RACING_TASKS",
    "ROUNDINGS",
    "SCORE_DEFINITIONS",
    "SCORE_STRATEGIES",
    "SEPARATOR_WORDS",
    "SINKS",
    "SINK_RATIO",
    "SINK_RATIOS",
    "TASKS",
    "TASK_KINDS",
    "WITHOUT_PADDING",
    "AlsoTrained",
    "BlockTable",
    "BlockTraits",
    "Budget",
    "DataChoice",
    "HiddenStates",
    "IdEstimate",
    "IdProfile",
    "LayerSimilarity",
    "MemoryEstimate",
    "ModelStructure",
    "ModuleScores",
    "NeighborGraph",
    "NotRun",
    "Progress",
    "RaceSpec",
    "RankPlan",
    "ReadReport",
    "RunSpec",
    "Sample",
    "SampleSource",
    "ScaleCurve",
    "SinkReport",
    "Study",
    "StudyRow",
    "TargetModule",
    "TrainingConfig",
    "arm_name",
    "check_choice",
    "check_name",
    "check_range",
    "check_task_can_race",
    "check_whole",
    "default_sinks",
    "legal_sinks",
    "lone_run",
    "race_run",
    "resolve_device",
    "resolved_sinks",
    "with_inits",
]
