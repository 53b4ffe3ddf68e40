"""The model beside real kernels: the same scenario on both, and where they part."""

from oomkit.agree.battery import agree_on
from oomkit.agree.compare import compare
from oomkit.agree.records import Agreement, Summary, summarise

__all__ = ["Agreement", "Summary", "agree_on", "compare", "summarise"]
