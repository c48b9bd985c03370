from __future__ import annotations

import pytest

from aimds.actors.topology import Node, Share, shares
from aimds.errors import ConfigError


def test_without_a_gpu_there_is_a_worker_for_each_whole_cpu() -> None:
    assert shares([Node(4), Node(2.5), Node(0)]) == (6, Share(1.0, 0.0))


def test_with_gpus_there_is_a_worker_for_each_of_them_with_its_part_of_the_cpus() -> None:
    assert shares([Node(4), Node(32, 8), Node(12, 2)]) == (10, Share(4.0, 1.0))
    assert shares([Node(2, 4)]) == (4, Share(0.0, 1.0))


def test_cpu_is_used_where_it_is_asked_for_even_beside_gpus() -> None:
    assert shares([Node(8, 2)], backend="cpu") == (8, Share(1.0, 0.0))


def test_more_workers_than_there_is_room_for_may_be_asked_for() -> None:
    assert shares([Node(2)], workers=9) == (9, Share(1.0, 0.0))


def test_a_cluster_that_cannot_do_it_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match="no machine of the cluster has a GPU"):
        shares([Node(2)], backend="cuda")
    with pytest.raises(ConfigError, match="at least one CPU"):
        shares([])
