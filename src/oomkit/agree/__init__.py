"""The model beside real kernels: the same scenario on both, and where they part."""

from oomkit.agree.compare import Job, JobError, Pair, agree_on, agree_on_all, compare, pair
from oomkit.agree.records import Agreement, Measured, MeasuredKernel, Summary, summarise

__all__ = [
    "Agreement",
    "Job",
    "JobError",
    "Measured",
    "MeasuredKernel",
    "Pair",
    "Summary",
    "agree_on",
    "agree_on_all",
    "compare",
    "pair",
    "summarise",
]
