"""A modelled run as it looks from inside the cgroup."""

import pytest

from oomkit.agree.compare import from_within
from oomkit.model import play
from oomkit.real.cgroup_limits import Host, confine
from oomkit.scenario import scenario_from

GB = 2**30


def test_free_and_available_are_the_cgroups() -> None:
    asked = scenario_from(
        {
            "name": "x",
            "duration": "10s",
            "machine": {"ram": "256M"},
            "task": [
                {"name": "r", "steps": [{"read": "50M", "rate": "100M/s"}, {"hold": "forever"}]},
                {"name": "t", "steps": [{"touch": "100M", "over": "5s"}, {"hold": "forever"}]},
            ],
        }
    )
    host = Host(release="6.12", version=2, ram_bytes=8 * GB, swap_bytes=0, cpus=2)
    outside = play(confine(asked, host), sample_s=0.1)
    assert min(outside.samples.available_mb) > 7000
    inside = from_within(outside, asked).samples
    assert inside.available_mb[0] == pytest.approx(255, abs=2)
    # As the kernel's estimate does it, part of the page cache does not count.
    assert 256 - 150 < inside.available_mb[-1] < 256 - 98
    assert inside.cached_mb[-1] == pytest.approx(50, abs=1)
    assert inside.free_mb[-1] == pytest.approx(256 - 150, abs=3)
    assert inside.tasks == outside.samples.tasks
