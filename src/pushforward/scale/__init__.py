"""Scoring, detecting, filling and sampling at any size: pure functions of record batches, and jobs that can be resumed.

`BatchScorer("model")` and its siblings turn record batches into record batches: Dask, Spark and Ray Data take them as
they are. `run_job` runs one over files, fragment by fragment, in this process or on a Ray cluster.
"""

from pushforward.scale.batch_detector import BatchDetector
from pushforward.scale.batch_filler import BatchFiller
from pushforward.scale.batch_function import AbstractBatchFunction, Failure, Outcome, Place
from pushforward.scale.batch_sampler import BatchSampler
from pushforward.scale.batch_scorer import BatchScorer
from pushforward.scale.engines import AbstractEngine, LocalEngine
from pushforward.scale.fragments import Fragment, Plan, plan_numbers, plan_table
from pushforward.scale.job import JobResult, run_job
from pushforward.scale.job_manifest import Log, ManifestError, read_manifest
from pushforward.scale.loaded import model_digest
from pushforward.scale.moments import Moments

__all__ = [
    "AbstractBatchFunction",
    "AbstractEngine",
    "BatchDetector",
    "BatchFiller",
    "BatchSampler",
    "BatchScorer",
    "Failure",
    "Fragment",
    "JobResult",
    "LocalEngine",
    "Log",
    "ManifestError",
    "Moments",
    "Outcome",
    "Place",
    "Plan",
    "model_digest",
    "plan_numbers",
    "plan_table",
    "read_manifest",
    "run_job",
]
