"""Many pieces of work on any ``concurrent.futures`` executor: here, or on a Dask cluster."""

from oomkit.batch.pools import Pool, PoolError, cluster_pool, local_pool
from oomkit.batch.work import Work

__all__ = ["Pool", "PoolError", "Work", "cluster_pool", "local_pool"]
