"""A real Slurm for the tests of this folder: one cluster for the session, clean for each test that asks."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from slurm_cluster import PATH, SlurmCluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[SlurmCluster]:
    """Two nodes of 16 CPUs and 4 GPUs; this process's own environment leads to them as well."""
    with SlurmCluster() as started, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("SLURM", "SBATCH", "SQUEUE"))]:
            patch.delenv(name)
        patch.setenv("SLURM_CONF", str(started.conf))
        patch.setenv("PATH", PATH)
        yield started


@pytest.fixture
def clean_cluster(cluster: SlurmCluster) -> SlurmCluster:
    """The cluster without jobs that wait or run, and with both nodes up."""
    cluster.clean()
    return cluster
