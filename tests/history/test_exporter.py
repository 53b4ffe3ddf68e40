"""Metrics of containers: kills by pod and cause, what is unreclaimable, and the bounds."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from oomkit.guard.writer import Status
from oomkit.history import exporter
from oomkit.history.exporter import OTHER, Book, ContainerCollector, Kills
from oomkit.host.cgroups import Hierarchy
from oomkit.kernel.names import Names
from tests.guard.test_exporter import get, until

ROOT = Path(__file__).parents[2]
CONTRIB = ROOT / "contrib"
MIB = 2**20
IDS = [f"{i:064x}" for i in range(1, 400)]
POD = "/kubepods/burstable/pod6b1f0c5e-3a70-4d0e-9f5b-1c2d3e4f5a6b"

REPORT = f"""\
python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=871
oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={IDS[0]},mems_allowed=0,\
oom_memcg={{limit}},task_memcg={POD}/{IDS[0]},task=python3,pid=4466,uid=1000
Memory cgroup out of memory: Killed process 4466 (python3) total-vm:2183460kB, \
anon-rss:1047552kB, file-rss:5120kB, shmem-rss:0kB, UID:1000 pgtables:2304kB oom_score_adj:871"""


def group(root: Path, path: str, *, usage: int, limit: int | None, cache: int = 0) -> None:
    """A version 2 cgroup's files."""
    folder = root / "cgroup" / path.strip("/")
    folder.mkdir(parents=True, exist_ok=True)
    anon = usage - cache
    files = {
        "cgroup.procs": "", "memory.current": usage, "memory.max": limit or "max",
        "memory.high": "max", "memory.low": 0, "memory.min": 0, "memory.swap.current": 0,
        "memory.swap.max": "max", "memory.oom.group": 0,
        "memory.stat": f"anon {anon}\nfile {cache}\ninactive_file {cache}\nactive_file 0\n",
        "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n",
    }  # fmt: skip
    for name, value in files.items():
        (folder / name).write_text(f"{value}\n" if not str(value).endswith("\n") else str(value))


def names(root: Path, container: str, name: str) -> None:
    """The kubelet's link to a container's log, of which names are read."""
    folder = root / "var/log/containers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"web-6d9f_shop_{name}-{container}.log").write_text("")


def scraped(collector: ContainerCollector) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    registry = CollectorRegistry()
    registry.register(collector)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@pytest.fixture
def node(tmp_path: Path) -> Path:
    group(tmp_path, "/kubepods", usage=900 * MIB, limit=None)
    group(tmp_path, POD, usage=900 * MIB, limit=1200 * MIB)
    group(tmp_path, f"{POD}/{IDS[0]}", usage=900 * MIB, limit=1000 * MIB, cache=400 * MIB)
    names(tmp_path, IDS[0], "nginx")
    (tmp_path / "journal").write_text("")
    return tmp_path


def collector(node: Path) -> ContainerCollector:
    hierarchy = Hierarchy(2, str(node / "cgroup"))
    return ContainerCollector(str(node / "journal"), hierarchy, root=str(node))


def append(node: Path, **record: Any) -> None:
    whole = {"schema": 1, "time_s": 1.0, "mono_s": 1.0, "boot_id": "b", **record}
    with (node / "journal").open("a") as file:
        file.write(json.dumps(whole) + "\n")


def kernel_kill(node: Path, limit: str) -> None:
    lines = REPORT.format(limit=limit).splitlines()
    append(node, kind="kernel_kill", pid=4466, comm="python3", scope="memcg", count=1, lines=lines)


def kills(node: Path, made: ContainerCollector) -> dict[tuple[str, ...], float]:
    keys = ("namespace", "pod", "container", "comm", "killer", "cause")
    return {
        tuple(dict(labels)[key] for key in keys): value
        for (name, labels), value in scraped(made).items()
        if name == "oomkit_container_kills_total"
    }


WHERE = frozenset({("namespace", "shop"), ("pod", "web-6d9f"), ("container", "nginx")})


def test_what_no_reclaim_takes_back_is_a_share_of_the_lowest_limit(node: Path) -> None:
    found = scraped(collector(node))
    assert found["oomkit_container_unreclaimable_ratio", WHERE] == pytest.approx(0.5)
    assert ("oomkit_container_time_to_limit_seconds", WHERE) not in found


def test_time_to_the_limit_is_of_two_scrapes(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((100.0, 110.0))
    made = collector(node)
    monkeypatch.setattr("oomkit.host.memcg_stat.time.monotonic", lambda: next(clock))
    scraped(made)
    group(node, f"{POD}/{IDS[0]}", usage=950 * MIB, limit=1000 * MIB, cache=400 * MIB)
    found = scraped(made)
    # 50 MiB in 10 s, and 50 MiB left.
    assert found["oomkit_container_time_to_limit_seconds", WHERE] == pytest.approx(10.0)


def test_kills_of_the_kernel_have_pod_and_cause(node: Path) -> None:
    made = collector(node)
    scraped(made)
    kernel_kill(node, f"{POD}/{IDS[0]}")
    kernel_kill(node, f"{POD}/{IDS[0]}")
    kernel_kill(node, POD)
    where = ("shop", "web-6d9f", "nginx", "python3", "kernel")
    assert kills(node, made) == {(*where, "container_limit"): 2, (*where, "limit_above"): 1}


def test_names_outlive_the_container(node: Path) -> None:
    """Its files go with it, often before the next scrape."""
    made = collector(node)
    scraped(made)
    shutil.rmtree(node / "var")
    shutil.rmtree(node / "cgroup")
    (node / "cgroup").mkdir()
    kernel_kill(node, f"{POD}/{IDS[0]}")
    assert next(iter(kills(node, made)))[:3] == ("shop", "web-6d9f", "nginx")


def test_kills_of_the_guard_count_when_they_are_over(node: Path) -> None:
    made = collector(node)
    victim = {"pid": 1, "comm": "leak", "cgroup": f"{POD}/{IDS[0]}"}
    for outcome, dry_run in (("died", False), ("died", True), ("survived", False), (None, False)):
        append(
            node, kind="act", level="soft", victim=victim, outcome=outcome, dry_run=dry_run,
            signals=[{"pid": 1, "name": "TERM"}],
        )  # fmt: skip
    assert kills(node, made) == {("shop", "web-6d9f", "nginx", "leak", "guard", "soft"): 1}


def test_kills_that_only_the_counters_showed(node: Path) -> None:
    made = collector(node)
    append(node, kind="kernel_kill", seen="vmstat", count=3, cgroups={f"{POD}/{IDS[1]}": 3})
    assert kills(node, made) == {
        ("", "6b1f0c5e-3a70-4d0e-9f5b-1c2d3e4f5a6b", IDS[1][:12], "", "kernel", "unknown"): 3
    }


def test_a_journal_that_is_moved_aside_is_read_to_its_end(node: Path) -> None:
    made = collector(node)
    kernel_kill(node, POD)
    scraped(made)
    kernel_kill(node, POD)
    (node / "journal").rename(node / "journal.1")
    kernel_kill(node, POD)
    assert sum(kills(node, made).values()) == 3
    assert sum(kills(node, made).values()) == 3


@pytest.mark.parametrize(
    "line",
    ["", "{", "[]", "null", '{"kind": "act"}', '{"time_s": 1, "kind": "kernel_kill", "comm": 3}',
     "\0"],
)  # fmt: skip
def test_damaged_lines_are_passed_over(node: Path, line: str) -> None:
    made = collector(node)
    with (node / "journal").open("a") as file:
        file.write(line + "\n")
    kernel_kill(node, POD)
    assert sum(kills(node, made).values()) == 1


def test_half_a_line_waits_for_the_rest(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    journal.write_text("")
    counted = Kills(str(journal), lambda _: Names())
    text = json.dumps({"time_s": 1.0, "kind": "kernel_kill", "comm": "a", "scope": "global"})
    journal.write_text(text[:20])
    counted.read()
    journal.write_text(f"{text}\n")
    counted.read()
    assert list(counted.counts.values()) == [1]


def test_names_of_processes_make_no_more_series_than_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "MAX_KILL_SERIES", 3)
    journal = tmp_path / "j"
    journal.write_text("")
    counted = Kills(str(journal), lambda _: Names())
    for i in range(10):
        line = {"time_s": 1.0, "kind": "kernel_kill", "comm": f"\x1b{i}" * 99, "scope": "global"}
        with journal.open("a") as file:
            file.write(json.dumps(line) + "\n")
    counted.read()
    assert len(counted.counts) == 4
    assert counted.counts[OTHER, OTHER, OTHER, OTHER, "kernel", "machine"] == 7
    assert all(len(value) <= 63 and value.isprintable() for key in counted.counts for value in key)


def test_containers_beyond_the_bound_are_counted(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "MAX_CONTAINERS", 2)
    for number, used in ((1, 100), (2, 990), (3, 200)):
        group(node, f"{POD}/{IDS[number]}", usage=used * MIB, limit=1000 * MIB)
        names(node, IDS[number], f"c{number}")
    found = scraped(collector(node))
    shown = {
        dict(k[1])["container"] for k in found if k[0] == "oomkit_container_unreclaimable_ratio"
    }
    assert shown == {"c2", "nginx"}
    assert found["oomkit_containers_without_series", frozenset()] == 2


def test_remembered_names_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Book, "MAX", 5)
    book = Book(str(tmp_path))
    for one in IDS[:50]:
        book.of(f"{POD}/{one}")
    assert len(book.known) == 5


# -- what reads the metrics ------------------------------------------------------------------

RULES = CONTRIB / "prometheus/oomkit.rules.yml"
DASHBOARD = json.loads((CONTRIB / "grafana/oomkit.json").read_text())


def promtool(*args: str) -> None:
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    done = subprocess.run([path, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_alerts_and_they_fire_as_they_should() -> None:
    promtool("check", "rules", str(RULES))
    promtool("test", "rules", str(RULES.with_name("oomkit.rules.test.yml")))


def expressions() -> list[str]:
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [re.sub(r"\$__(?:range|rate_interval)", "5m", one) for one in found]


def test_promtool_accepts_the_dashboards_queries(tmp_path: Path) -> None:
    rules = [{"record": f"panel{i}", "expr": one} for i, one in enumerate(expressions())]
    made = tmp_path / "rules.yml"
    made.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(made))


def test_alerts_and_panels_ask_for_metrics_that_are_served() -> None:
    served = set()
    for module in ("guard/exporter.py", "history/exporter.py"):
        served |= set(re.findall(r'"(oomkit_\w+)"', (ROOT / "src/oomkit" / module).read_text()))
    asked = re.findall(r"\b(oomkit_\w+)", " ".join([*expressions(), RULES.read_text()]))
    assert {one.removesuffix("_total") for one in asked} <= served


def test_panels_and_variables_fit_together() -> None:
    """What the types of Grafana do not say; ``tests/packaging/test_dashboard.py`` asks those."""
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None
    variables = {one["name"] for one in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD["panels"])))
    assert used - {"__range", "__rate_interval"} <= variables


def test_the_program_that_a_guard_starts_serves_both(node: Path) -> None:
    status = Status(str(node / "status"))
    status.write({"pid": os.getpid(), "policy": "default"})
    status.close()
    argv = [sys.executable, "-m", "oomkit.history.exporter", f"unix:{node}/sock"]
    argv += ["--status", f"{node}/status", "--journal", f"{node}/journal"]
    with subprocess.Popen(argv) as process:
        until((node / "sock").exists)
        until(lambda: "oomkit_guard_up 1.0" in get(node / "sock"))
        append(node, kind="kernel_kill", comm="hog", scope="global", count=1)
        text = get(node / "sock")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert 'comm="hog",container="",killer="kernel",namespace="",pod=""} 1.0' in text


def test_without_a_journal_there_are_no_kills() -> None:
    made = ContainerCollector("", None)
    assert not any(key[0].startswith("oomkit_container_kills") for key in scraped(made))
