"""Preloaded by a worker of dask.distributed: each of its shards takes a second at least."""

import time

from functa_store.conversion.workers import dask_engine


def dask_setup(worker):
    original = dask_engine.fit_shard

    def fit_shard(job, index):
        time.sleep(1.0)
        return original(job, index)

    dask_engine.fit_shard = fit_shard
