"""``--policy earlyoom:`` and the like by the installed command."""

import json
from pathlib import Path

import pytest

from tests.cli.test_run import SCENARIOS, oomkit
from tests.policy.peers.trees import NANO, write

LEAK = str(SCENARIOS / "database-and-leak.toml")
PROGRAM = {"usr/bin/earlyoom": "earlyoom 1.7\n"}
SWAPPED = """\
name = "swapped"
duration = "60s"
[machine]
ram = "1G"
swap = "1G"
[[cgroup]]
name = "work.slice"
[[cgroup]]
name = "work.slice/a.scope"
[[cgroup]]
name = "work.slice/b.scope"
[[task]]
name = "old"
cgroup = "work.slice/a.scope"
role = "innocent"
steps = [ { touch = "700M", rate = "400M/s" }, { hold = "forever" } ]
[[task]]
name = "hog"
cgroup = "work.slice/b.scope"
role = "culprit"
start = "4s"
steps = [ { touch = "3G", rate = "60M/s" } ]
"""


def test_check_says_what_it_does_what_is_left_out_and_which_traps_are_in_it(tmp_path: Path) -> None:
    args = "EARLYOOM_ARGS=\"-m 12,0 -g --avoid '^a-name-that-is-too-long$' --prefer '^zq-none$'\"\n"
    root = write(tmp_path, {"etc/default/earlyoom": args, **PROGRAM})
    done = oomkit("guard", "--check", "--policy", f"earlyoom:{root}")
    assert done.returncode == 0
    said = " ".join(done.stdout.split())
    for words in (
        "at or below 12 % of RAM and free swap is at or below 10 % of swap",
        f"read from {root}/etc/default/earlyoom by the rules of earlyoom 1.7",
        f"{root}/etc/default/earlyoom:1: -g: the whole process group dies",
        "the SIGKILL threshold is 0: a process that ignores SIGTERM is never killed",
        "can never match, as the kernel keeps 15 bytes of a name",
        "prefer comm search:^zq-none\\Z: matches no process now",
        "what it would choose first now",
    ):
        assert words in said, words


@pytest.mark.parametrize(
    ("daemon", "file", "text", "line"),
    [
        ("earlyoom", "etc/default/earlyoom", 'EARLYOOM_ARGS="-m x"\n',
         ":1: -m: expected a number from 0 to 99, or two with a comma between them, not 'x'"),
        ("nohang", "etc/nohang/nohang.conf", f"{NANO}zram_checking_enabled = no\n",
         f":{NANO.count(chr(10)) + 1}: zram_checking_enabled: expected True or False, not 'no'"),
        ("systemd-oomd", "etc/systemd/oomd.conf", "[OOM]\nSwapUsedLimit=9\n",
         ":2: SwapUsedLimit: expected a share such as 60%, 600‰ or 6000‱, at most 100%, not '9'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_and_status_2(
    tmp_path: Path, daemon: str, file: str, text: str, line: str
) -> None:
    root = write(tmp_path, {file: text})
    for command in (("guard", "--check"), ("run", LEAK)):
        done = oomkit(*command, "--policy", f"{daemon}:{root}")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"oomkit: {root}/{file}{line}\n"
    done = oomkit("run", LEAK, "--policy", f"{daemon}:{tmp_path}/no-such")
    assert done.returncode == 2
    assert "expected a file or folder with" in done.stderr


def test_a_run_under_it_beside_the_default(tmp_path: Path) -> None:
    root = write(tmp_path, {"etc/default/earlyoom": "EARLYOOM_ARGS=-m8\n", **PROGRAM})
    name = f"earlyoom:{root}"
    done = oomkit("run", LEAK, "--policy", name, "--vs", "default", "--json")
    assert done.returncode == 1
    both = json.loads(done.stdout)
    theirs, ours = both["first"], both["second"]
    assert (theirs["policy"], ours["policy"]) == ("earlyoom", "default")
    # kill.c, is_larger(): the database has the highest oom_score; the default sees who grew.
    assert [run["kills"][0]["task"] for run in (theirs, ours)] == ["postgres", "leak"]
    alone = oomkit("run", LEAK, "--vs", "default")
    assert "as it is | default" in alone.stdout
    clash = oomkit("run", LEAK, "--vs", "default", "--vs", "machine.swap=1G")
    assert (clash.returncode, "don't go together" in clash.stderr) == (2, True)


def test_systemd_oomd_kills_the_cgroup_with_most_swap(tmp_path: Path) -> None:
    scenario = tmp_path / "swapped.toml"
    scenario.write_text(SWAPPED)
    units = write(tmp_path / "units", {"work.slice": "[Slice]\nManagedOOMSwap=kill\n"})
    name = f"systemd-oomd:{units}"
    run = json.loads(oomkit("run", str(scenario), "--policy", name, "--json").stdout)
    first = run["kills"][0]
    assert first["by"] == "systemd-oomd"
    # oomd-util.c, oomd_select_by_swap_usage(): what was there first is what was swapped out.
    assert first["task"] == "old"
    assert any("swap" in line for line in first["trace"])
    write(units, {"a.scope": "[Scope]\nManagedOOMPreference=omit\n"})
    spared = json.loads(oomkit("run", str(scenario), "--policy", name, "--json").stdout)
    assert "old" not in {kill["task"] for kill in spared["kills"] if kill["by"] != "kernel"}


def test_the_kubelets_configuration(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    file = tmp_path / "config.yaml"
    file.write_text(
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
        "clusterDomain: x\nevictionHard:\n  memory.available: 300Mi\n  nodefs.available: 10%\n"
    )
    done = oomkit("guard", "--check", "--policy", f"kubelet:{file}")
    assert done.returncode == 0
    said = " ".join(done.stdout.split())
    assert "300 MiB" in said
    assert f"{file}:3: clusterDomain: not about eviction for want of memory" in said
    assert f"{file}:6: nodefs.available: evictionHard of something else than memory" in said
    file.write_text("kind: KubeletConfiguration\nevictionHard:\n  memory.available: much\n")
    done = oomkit("run", LEAK, "--policy", f"kubelet:{file}")
    assert done.returncode == 2
    assert "memory.available: expected" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_guard_is_not_armed_with_what_kills_while_memory_is_plentiful(tmp_path: Path) -> None:
    for options in (["--policy", "earlyoom:-m 60"], ["--policy", "earlyoom:-m 60 --sort-by-rss"]):
        done = oomkit("guard", "--no-journal", *options)
        assert done.returncode == 2
        assert "oomkit" in done.stderr
    assert oomkit("guard", "--check", "--policy", "earlyoom:-m 60").returncode == 0
