"""A recorded day under another policy."""

from pathlib import Path

import pytest

from oomkit.guard import recording_format as fmt
from oomkit.guard.flight_recorder import FlightRecorder
from oomkit.history.recording import Recording, Sample, read_recording
from oomkit.history.replay import Replay, replay, rules_or_newest
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.reading import Reading
from oomkit.policy.read import find_policy, policy_from
from oomkit.policy.records import Policy
from oomkit.views.replay import events, sums

GIB = 1 << 20
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "night.recording"


def simple(**how: object) -> Policy:
    """Acts as soon as less than 10 % are available."""
    when = [{"level": "soft", "available": "10%"}]
    return policy_from({"name": "simple", "when": when, "how": how}, source="here")


def leak(path: Path, *, killed_at_s: float | None = 50.0, until_s: float = 70.0) -> Recording:
    """A leak of 100 MiB/s beside a database, on 8 GiB without swap; the kernel kills in the end."""
    wall_s = [0.0]
    ring = FlightRecorder(str(path), 1 << 18, wall=lambda: 1e9 + wall_s[0])
    for half_s in range(int(until_s * 2)):
        wall_s[0] = t_s = half_s / 2.0
        lives = killed_at_s is None or t_s <= killed_at_s
        grown_kb = t_s * 100 * 1024 if lives else 0.0
        tasks = [Candidate(10, 1, 1, "mysqld", anon_kb=3 * GIB, age_s=1e5)]
        if lives:
            tasks.append(Candidate(20, 2, 1, "leak", anon_kb=grown_kb, age_s=t_s))
        elif half_s == int((killed_at_s or 0) * 2) + 1:
            ring.mark(fmt.KERNEL_KILL, t_s, 20, "leak", by="kmsg")
        ring.sample(Reading(t_s, 8 * GIB, max(5 * GIB - grown_kb, 0.0)), tasks)
    ring.close()
    return read_recording(str(path))


def victims(played: Replay) -> list[str]:
    return [str(would.act["victim"]["comm"]) for would in played.would_kill]


def test_it_says_whom_when_and_how_long_before_the_kernel(tmp_path: Path) -> None:
    played = replay(leak(tmp_path / "r"), simple())
    (would,) = played.would_kill
    # 5 GiB - 100 MiB/s falls to 10 % of 8 GiB after 43.008 s; looks are half a second apart.
    assert (would.t_s, would.wall_s) == (43.5, 1e9 + 43.5)
    assert (would.pids, would.signals) == ((20,), ("SIGTERM",))
    assert would.act["evidence"][0]["name"] == "available"
    (kill,) = played.kernel_kills
    assert (kill.ahead_s, kill.after) == (7.0, 0)
    assert played.longest_gap_s == 0.5


def test_memory_of_those_killed_counts_as_free_from_then_on(tmp_path: Path) -> None:
    """Nobody else dies although the recording goes on getting shorter of memory."""
    recording = leak(tmp_path / "r", killed_at_s=None, until_s=51.0)
    assert recording.samples[-1].reading.available_kb < 100 * 1024
    assert victims(replay(recording, simple())) == ["leak"]


def test_with_a_policy_that_spares_it_the_next_one_dies(tmp_path: Path) -> None:
    policy = policy_from(
        {
            "name": "sparing",
            "when": [{"level": "hard", "available": "10%"}],
            "whom": {"never": [{"comm": ["leak"]}]},
        },
        source="here",
    )
    played = replay(leak(tmp_path / "r"), policy)
    assert victims(played) == ["mysqld"]
    assert played.would_kill[0].signals == ("SIGKILL",)
    assert played.kernel_kills[0].ahead_s is None
    assert played.kernel_kills[0].after == 0


def test_the_kernel_policy_does_nothing(tmp_path: Path) -> None:
    played = replay(leak(tmp_path / "r"), find_policy("kernel"))
    assert played.would_kill == ()
    assert played.kernel_kills[0].after is None


@pytest.mark.parametrize("policy", ["default", "earlyoom", "nohang", "oomd-like", "systemd-oomd"])
def test_every_policy_plays_and_none_is_killed_twice(policy: str) -> None:
    played = replay(read_recording(str(EXAMPLE)), find_policy(policy))
    pids = [pid for would in played.would_kill for pid in would.pids]
    assert len(pids) == len(set(pids))
    assert [kill.mark.comm for kill in played.kernel_kills] == ["mysqld"]


def test_missing_scores_are_made_up_by_the_kernels_rules(tmp_path: Path) -> None:
    """The policy earlyoom goes by oom_score, which this recording does not hold."""
    when = [{"level": "soft", "available": "10%"}]
    policy = policy_from(
        {"name": "scores", "when": when, "whom": {"by": "oom_score"}}, source="here"
    )
    played = replay(leak(tmp_path / "r"), policy)
    scores = {row["comm"]: row["score"] for row in played.would_kill[0].act["candidates"]}
    # (1000 + badness * 1000 / total) * 2 / 3, each division rounded down.
    assert scores["mysqld"] == (1000 + 375) * 2 // 3
    assert victims(played) == ["leak"]
    assert rules_or_newest("no kernel at all").badness == "pages"


def test_kills_found_late_are_dated_back_and_older_ones_left_out(tmp_path: Path) -> None:
    wall_s = [1000.0]
    ring = FlightRecorder(str(tmp_path / "r"), 1 << 16, wall=lambda: wall_s[0])
    for t_s in (100.0, 110.0, 120.0):
        wall_s[0] = 900.0 + t_s
        ring.sample(Reading(t_s, 8 * GIB, 4 * GIB), [])
    ring.mark(fmt.KERNEL_KILL, 50.0, 7, "older")
    for _ in range(2):
        ring.mark(fmt.KERNEL_KILL, 111.0, 8, "late")
    recording = read_recording(str(tmp_path / "r"))
    assert [(mark.comm, mark.wall_s) for mark in recording.marks] == [
        ("older", 950.0), ("late", 1011.0),
    ]  # fmt: skip
    played = replay(recording, find_policy("kernel"))
    assert [kill.mark.comm for kill in played.kernel_kills] == ["late"]


def test_an_old_process_that_is_listed_late_did_not_grow_from_nothing(tmp_path: Path) -> None:
    ring = FlightRecorder(str(tmp_path / "r"), 1 << 18, wall=lambda: 1e9)
    for t_s in range(60):
        leak_kb = 600_000.0 + 20_000.0 * t_s
        tasks = [Candidate(20, 2, 1, "leak", anon_kb=leak_kb, age_s=500.0 + t_s)]
        if t_s > 40:
            tasks.append(Candidate(30, 3, 1, "old", anon_kb=900_000.0, age_s=1e5))
        available_kb = (0.2 if t_s < 45 else 0.05) * 8 * GIB - t_s
        ring.sample(Reading(float(t_s), 8 * GIB, available_kb), tasks)
    ring.close()
    policy = policy_from(
        {
            "name": "growth",
            "when": [{"level": "soft", "available": "10%"}],
            "whom": {"by": "growth"},
        },
        source="here",
    )
    played = replay(read_recording(str(tmp_path / "r")), policy)
    rows = {row["comm"]: row["growth_kb"] for row in played.would_kill[0].act["candidates"]}
    assert victims(played)[0] == "leak"
    assert rows["old"] < 200_000


def test_after_a_reboot_the_policy_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "r"
    for boot in ("first", "second"):
        ring = FlightRecorder(str(path), 1 << 18, boot_id=boot, wall=lambda: 1e9)
        for t_s in range(5):
            one = [Candidate(10, 1, 1, "hog", anon_kb=GIB)]
            ring.sample(Reading(float(t_s), 8 * GIB, 0.1 * GIB), one)
        ring.close()
    recording = read_recording(str(path))
    assert [sample.boot for sample in recording.samples] == [0] * 5 + [1] * 5
    played = replay(recording, simple())
    assert [(would.boot, would.t_s) for would in played.would_kill] == [(0, 0.0), (1, 0.0)]


def test_a_cgroup_is_relieved_by_its_dead(tmp_path: Path) -> None:
    policy = policy_from(
        {"name": "box", "when": [{"level": "soft", "cgroup": "/box", "limit_left": "10%"}]},
        source="here",
    )
    from oomkit.policy.engine.reading import CgroupReading

    samples = []
    for t_s in range(20):
        tasks = (
            Candidate(5, 1, 1, "inside", anon_kb=900, cgroup="/box/in", swap_kb=5000),
            Candidate(6, 1, 1, "outside", anon_kb=9 * GIB, cgroup="/boxer"),
        )
        group = CgroupReading("/box", 950, limit_kb=1000)
        reading = Reading(float(t_s), 16 * GIB, 8 * GIB, cgroups=(group,))
        samples.append(Sample(wall_s=0.0, boot=0, reading=reading, tasks=tasks))
    recording = Recording(
        path=str(tmp_path), kernel="6.12", samples=tuple(samples), marks=(), damaged=0
    )
    assert victims(replay(recording, policy)) == ["inside"]


def test_softer_acts_are_listed_and_change_nothing_of_what_was_recorded(tmp_path: Path) -> None:
    ease = {"level": "ease", "available": "30%"}
    soft = {"level": "soft", "available": "10%"}
    recording = leak(tmp_path / "r")
    plain, gentle = (
        replay(recording, policy_from({"name": "gentle", "when": when, "how": how}))
        for when, how in (([soft], {}), ([ease, soft], {"freeze": {"time": "10s"}}))
    )
    assert plain.would_ease == ()
    first = gentle.would_ease[0]
    assert (first.act, first.comm, first.cgroup) == ("freeze", "mysqld", "")
    assert first.t_s < gentle.would_kill[0].t_s
    assert victims(gentle) == victims(plain)
    text = list(sums(gentle))
    assert "softer acts: 2; the recording goes on as if there were none" in text
    assert any(
        line == "would have frozen mysqld[10]" for _, _, lines in events(gentle) for line in lines
    )
