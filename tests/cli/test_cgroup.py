"""``oomkit cgroup``: the table, one group, snapshots old and new, hostile names."""

import json
from pathlib import Path

import pytest

from oomkit.host.cgroups import find_hierarchy
from tests.conftest import Command

NODE = str(Path(__file__).parents[2] / "docs" / "examples" / "node.json")
SHOP = str(Path(__file__).parents[2] / "docs" / "examples" / "shop.json")


def test_the_nearest_to_its_limit_stands_first(oomkit: Command) -> None:
    done = oomkit("cgroup", "--from", NODE)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith(("pod", "/", "db"))]
    assert rows[0].startswith("pod shop/web-6d9f, container nginx")
    assert "99 %" in rows[0]
    assert rows[-1].startswith("db.service")
    assert "dies first: python3[4466] and 1 more" in done.stdout
    assert "oom_kill 4" in done.stdout


def test_top_says_how_many_are_left_out(oomkit: Command) -> None:
    done = oomkit("cgroup", "--from", NODE, "--top", "2")
    assert "(6 more; --top 0 shows all)" in done.stdout
    assert json.loads(oomkit("cgroup", "--from", NODE, "--top", "2", "--json").stdout)[
        "left_out"
    ] == 6  # fmt: skip


@pytest.mark.parametrize(
    "given",
    ["9e8d7c6b", "d2c1b0a9-8f7e-4d6c-b5a4-0f1e2d3c4b5a/cri-containerd-9e8d", "9e8d7c6b5a49"],
)
def test_a_container_by_a_part_of_its_id(oomkit: Command, given: str) -> None:
    done = oomkit("cgroup", given.rpartition("-")[2], "--from", NODE)
    assert done.returncode == 0, done.stderr
    assert "warning: 700 MiB are files in /dev/shm, which no restart" in done.stdout


def test_the_json_adds_up(oomkit: Command) -> None:
    made = json.loads(oomkit("cgroup", "3f2a9c41b7d0", "--from", NODE, "--json").stdout)
    rows = [row for row in made["rows"] if row["of"] is None]
    assert sum(row["bytes"] for row in rows) == made["figures"]["usage_bytes"]
    inactive = next(row["bytes"] for row in rows if row["name"] == "file cache, inactive")
    figures = made["figures"]
    assert figures["working_set_bytes"] == figures["usage_bytes"] - inactive
    assert "cache" in {finding["kind"] for finding in made["findings"]}
    assert made["names"]["container_id"] == "3f2a9c41b7d0"
    assert made["names"]["image"] == "docker.io/library/nginx:1.27"


def test_a_snapshot_without_anatomy_reads_on(oomkit: Command) -> None:
    table = oomkit("cgroup", "--from", SHOP)
    assert table.returncode == 0
    assert "php8.2-fpm.service" in table.stdout
    assert "without anatomy" in table.stderr
    one = oomkit("cgroup", "mysql.service", "--from", SHOP)
    assert one.returncode == 2
    assert one.stderr.count("\n") == 1
    assert "holds no anatomy of it" in one.stderr


def test_misuse_is_one_line(oomkit: Command) -> None:
    for args, said in (
        (("none.service", "--from", NODE), "no memory cgroup 'none.service'"),
        (("--watch", "--from", NODE), "--watch looks at this machine"),
        (("--interval", "nan"), "expected seconds from 0.1 to 3600"),
    ):
        done = oomkit("cgroup", *args)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr


def test_an_impossible_anatomy_is_refused_with_its_place(oomkit: Command) -> None:
    snapshot = json.loads(Path(NODE).read_text())
    snapshot["anatomy"][1]["stat"]["anon"] = -5
    done = oomkit("cgroup", "--from", "-", stdin=json.dumps(snapshot))
    assert done.returncode == 2
    assert "$.anatomy[1].stat.anon: expected 0 to 2**64 - 1, got -5" in done.stderr


def test_no_escape_reaches_the_terminal(oomkit: Command) -> None:
    hostile = "/\x1b]0;x\x07\u202e.service"
    snapshot = json.loads(Path(NODE).read_text())
    path = snapshot["anatomy"][-1]["path"]
    text = json.dumps(snapshot).replace(path, json.dumps(hostile)[1:-1])
    text = text.replace('"web-6d9f"', '"\\u001b[1m"').replace('"nginx"', '"\\u202e"')
    text = text.replace('"postgres"', '"\\u001b[31m"').replace("/dev/shm", "/\\u001b[2J")
    for args in ((), (".service",), ("9e8d7c6b",)):
        done = oomkit("cgroup", *args, "--from", "-", stdin=text)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout
        assert "\u202e" not in done.stdout


@pytest.mark.skipif(find_hierarchy("/proc") is None, reason="no memory cgroups here")
def test_this_machine(oomkit: Command, tmp_path: Path) -> None:
    table = oomkit("cgroup", "--json")
    assert table.returncode == 0, table.stderr
    groups = json.loads(table.stdout)["cgroups"]
    file = tmp_path / "here.json"
    assert oomkit("snapshot", "-o", str(file)).returncode == 0
    assert json.loads(file.read_text())["anatomy"]
    if groups:
        one = oomkit("cgroup", groups[0]["path"])
        assert one.returncode == 0, one.stderr
        assert "working set" in one.stdout


def test_rank_calls_containers_by_their_names(oomkit: Command) -> None:
    table = oomkit("rank", "--from", NODE)
    assert "pod ml/train-0, container loader" in table.stdout
    inside = oomkit("rank", "--from", NODE, "--cgroup", "shop/web-6d9f/nginx")
    assert "memcg OOM of pod shop/web-6d9f, container nginx" in inside.stdout
    pods = oomkit("rank", "--from", NODE, "--by", "pod").stdout
    assert "shop/web-6d9f" in pods
    assert "ml/train-0" in pods
    groups = oomkit("rank", "--from", NODE, "--by", "cgroup").stdout
    assert "pod ml/train-0, container loader" in groups


def test_a_name_of_two_containers_is_unclear(oomkit: Command) -> None:
    snapshot = json.loads(Path(NODE).read_text())
    for names in snapshot["names"].values():
        if "container" in names:
            names["container"] = "app"
    done = oomkit("cgroup", "app", "--from", "-", stdin=json.dumps(snapshot))
    assert done.returncode == 2
    assert "may mean" in done.stderr
