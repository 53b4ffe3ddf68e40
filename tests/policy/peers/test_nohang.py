"""nohang's configuration as a policy; the right answers follow from its source (src/nohang)."""

from pathlib import Path

import pytest

from oomkit.policy.read import find_policy
from oomkit.policy.records import Policy
from tests.policy.peers.trees import NANO, chosen, lines_of, process, reading, write

CONF = "etc/nohang/nohang.conf"
LOW = reading(available=0.04, swap=0.05)
CROWD = [
    process(
        10, "tab", anon_kb=1e5, oom_score=900, oom_score_adj=300, cmdline="tab --type=renderer"
    ),
    process(11, "postgres", anon_kb=2e6, oom_score=800, cgroup="/system.slice/pg.service", uid=5),
    process(12, "hog", anon_kb=2.5e6, oom_score=790, exe="/usr/bin/hog", uid=7),
    process(13, "low", anon_kb=1e5, oom_score=600, oom_score_adj=-100, exe="/usr/bin/low"),
]


def nohang(root: Path, more: str = "", version: str = "0.3.0", **changed: str) -> Policy:
    lines = [
        f"{key} = {changed.pop(key)}"
        if (key := line.partition("=")[0].strip()) in changed
        else line
        for line in NANO.splitlines()
    ]
    lines += [f"{key} = {value}" for key, value in changed.items()]
    program = "badness -= oom_score_adj * 2 // 3" if version == "0.3.0" else "..."
    write(root, {CONF: "\n".join(lines) + f"\n{more}", "usr/sbin/nohang": program})
    return find_policy(f"nohang:{root}")


def test_thresholds_of_memory_and_swap(tmp_path: Path) -> None:
    """check_mem_swap_ex(): both at or below; warnings only where they are enabled."""
    policy = nohang(tmp_path, soft_threshold_min_mem="300 M", soft_threshold_min_swap="100 M")
    soft, hard = policy.when
    assert (soft.level, hard.level) == ("soft", "hard")
    assert [(one.kind, one.threshold, one.share) for one in soft.conditions] == [
        ("available", 300 * 1024.0, False), ("swap_free", 100 * 1024.0, False),
    ]  # fmt: skip
    assert [one.threshold for one in hard.conditions] == [0.02, 0.04]
    warned = nohang(tmp_path / "warned", low_memory_warnings_enabled="True")
    assert [rule.level for rule in warned.when] == ["warn", "soft", "hard"]


def test_zram_and_pressure_count_with_low_memory(tmp_path: Path) -> None:
    """check_zram_ex() and check_psi_ex(): each beside MemAvailable, pressure with swap alone."""
    policy = nohang(
        tmp_path, zram_checking_enabled="True", psi_checking_enabled="True",
        psi_metrics="some_avg60",
    )  # fmt: skip
    zram, psi = policy.when[2], policy.when[4]
    assert [one.kind for one in zram.conditions] == ["available", "zram"]
    assert {one.kind: one.threshold for one in psi.conditions} == {
        "available": 0.05, "swap_used": 0.0, "psi_some": 0.4,
    }  # fmt: skip
    assert (psi.over_s, psi.for_s, psi.pause_s) == (60.0, 30.0, 15.0)


@pytest.mark.parametrize(
    ("more", "victim"),
    [
        # fast_find_victim(): the highest oom_score.
        ("", "tab"),
        # pid_to_badness(): what an expression finds anywhere takes or adds.
        ("@BADNESS_ADJ_RE_CMDLINE -200 /// --type=rend\n", "postgres"),
        ("@BADNESS_ADJ_RE_NAME -200 /// ^tab$\n@BADNESS_ADJ_RE_CGROUP_V2 -90 /// /pg\\.s\n", "hog"),
        ("@BADNESS_ADJ_RE_REALPATH 200 /// ^/usr/bin/hog\n", "hog"),
        ("@BADNESS_ADJ_RE_UID 200 /// ^7$\n", "hog"),
        # What adds does so only for an oom_score_adj from 0 on.
        ("@BADNESS_ADJ_RE_REALPATH 900 /// /low$\n", "tab"),
        # Flags at the begin of an expression.
        ("@BADNESS_ADJ_RE_NAME 200 /// (?i)^HOG$\n", "hog"),
    ],
)
def test_the_right_victim(tmp_path: Path, more: str, victim: str) -> None:
    assert chosen(nohang(tmp_path, more), CROWD, LOW) == [victim]


@pytest.mark.parametrize(("version", "victim"), [("0.2.0", "other"), ("0.3.0", "tab")])
def test_a_raised_adjustment_is_taken_off(tmp_path: Path, version: str, victim: str) -> None:
    """pid_to_badness(): 0.2.0 takes all of it off, 0.3.0 two thirds."""
    policy = nohang(tmp_path, version=version, ignore_positive_oom_score_adj="True")
    crowd = [
        process(10, "tab", anon_kb=1e5, oom_score=900, oom_score_adj=300),
        process(11, "other", anon_kb=1e5, oom_score=650),
    ]
    assert chosen(policy, crowd, LOW) == [victim]
    assert policy.origin is not None
    assert policy.origin.version == version


def test_too_little_badness_is_no_victim(tmp_path: Path) -> None:
    """implement_corrective_action(): min_badness; a score of 0 is no candidate."""
    assert chosen(nohang(tmp_path, min_badness="901"), CROWD, LOW) == []
    assert chosen(nohang(tmp_path / "b"), [process(9, "z", anon_kb=9e5, oom_score=0)], LOW) == []


def test_a_command_instead_of_sigterm(tmp_path: Path) -> None:
    write(tmp_path, {"usr/bin/systemctl": "..."})
    policy = nohang(tmp_path, "@SOFT_ACTION_RE_NAME ^foo$ /// systemctl kill $PID\n")
    (instead,) = policy.how.instead
    assert instead.command == ("/usr/bin/systemctl", "kill", "{pid}")
    assert instead.match.patterns == (("comm", ("search:^foo$",)),)


def test_nothing_is_dropped_in_silence(tmp_path: Path) -> None:
    more = (
        "@BADNESS_ADJ_RE_CGROUP_V1 -5 /// x\n@BADNESS_ADJ_RE_CWD 5 /// x\n"
        "@BADNESS_ADJ_RE_ENVIRON 5 /// x\n@SOFT_ACTION_RE_NAME x /// nowhere $PID\n@check_kmsg\n"
        "@NO_SUCH 1\n  indented = 1\nno_such_key = 1\n"
    )
    policy = nohang(tmp_path, more, post_kill_exe="/bin/x", psi_path="/x", debug_psi="True",
                    psi_checking_enabled="True", victim_cache_time="5")  # fmt: skip
    assert policy.origin is not None
    said = "\n".join(policy.origin.left_out)
    for word in ("CGROUP_V1", "CWD", "ENVIRON", "'nowhere'", "@check_kmsg", "@NO_SUCH", "indented",
                 "no_such_key", "post_kill_exe", "psi_path = /x", "debug_psi",
                 "victim_cache_time"):  # fmt: skip
        assert word in said, word
    first = len(NANO.splitlines()) + 1 + 2
    assert f"{tmp_path}/{CONF}:{first}: @BADNESS_ADJ_RE_CGROUP_V1 -5 /// x: " in said


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("soft_threshold_min_mem", "60 %", "expected 0 to 50 % of memory"),
        ("soft_threshold_min_swap", "10", "or a size with M behind it, not '10'"),
        ("hard_threshold_max_zram", "5 %", "expected 10 to 90 %"),
        ("psi_checking_enabled", "yes", "expected True or False, not 'yes'"),
        ("psi_metrics", "full_avg5", "expected some_ or full_ and avg10, avg60 or avg300"),
        ("max_sleep", "x", "expected a number from 0.01 on, not 'x'"),
        ("min_sleep", "5", "expected a number from 0.01 to 3, not '5'"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, key: str, value: str, expected: str) -> None:
    text = "".join(line + "\n" for line in NANO.splitlines() if not line.startswith(key))
    file = tmp_path / "own.conf"
    file.write_text(f"{text}{key} = {value}\n")
    number = len(text.splitlines()) + 1
    (line,) = lines_of(f"nohang:{file}")
    assert line.startswith(f"{file}:{number}: {key}: ")
    assert expected in line


def test_what_is_missing_or_there_twice_is_named(tmp_path: Path) -> None:
    file = tmp_path / "own.conf"
    file.write_text(
        NANO.replace("min_badness = 1\n", "") + "max_sleep = 3\n@BADNESS_ADJ_RE_UID x\n"
    )
    found = lines_of(f"nohang:{file}")
    assert f"{file}: min_badness: is missing; nohang would not start" in found
    assert any("max_sleep: expected it once; it is in" in line for line in found)
    assert any("expected NUMBER /// EXPRESSION" in line for line in found)


THRASHES = "with swap left it does nothing, however much the machine thrashes"


def test_each_line_that_is_left_out_is_named_with_its_reason(tmp_path: Path) -> None:
    more = [
        "@check_kmsg", "@debug_kmsg", "@NO_SUCH 1", "  indented = 1", "  # no", "  @no = 1", "  no",
        "\t", "no equals", "no_such_key = 1",
    ]  # fmt: skip
    policy = nohang(tmp_path, "\n".join(more), post_kill_exe="/bin/x", victim_cache_time="5",
                    fill_rate_zram="1", exe_timeout="1", warning_exe="x")  # fmt: skip
    assert policy.origin is not None
    begin, path = len(NANO.splitlines()), f"{tmp_path}/{CONF}:"
    unknown = "nohang does not know it, and ignores it"
    assert [line.removeprefix(path) for line in policy.origin.left_out] == [
        f"{begin + 3}: @NO_SUCH: {unknown}",
        f"{begin + 4}: indented = 1: it is indented: nohang ignores it",
        f"{begin + 9}: no equals: no KEY = VALUE: nohang ignores it",
        (
            "2: victim_cache_time: no other process is chosen for that long after SIGTERM; here "
            "for max_soft_exit_time"
        ),
        "7: fill_rate_zram = 1: zram is looked at as often as memory",
        (
            "29: warning_exe = x: the program runs instead of a notification of low memory; here "
            "it is logged"
        ),
        (
            "26: post_kill_exe = /bin/x: the program runs after SIGKILL alone; how.after in a "
            "policy file runs after each death"
        ),
        "4: exe_timeout = 1: commands may take a minute here",
        (
            "31: min_mem_report_interval, extra_table_info, max_victim_ancestry_depth: what nohang "
            "logs; nothing is decided by it"
        ),
        f"{begin + 1}: @check_kmsg: nohang does nothing for a second after the kernel killed",
        f"{begin + 2}: @debug_kmsg: it logs more",
        f"{begin + 10}: no_such_key: {unknown}",
    ]


@pytest.mark.parametrize(("changed", "more", "traps"), [
    ({}, "", [
        f"psi_checking_enabled is not True: {THRASHES}",
        "zram_checking_enabled is not True: zram counts as swap, whatever RAM it takes",
        ("a raised oom_score_adj counts as if the process were larger: browsers' tabs die before "
        "what fills memory"),
        "no process is avoided: a database, the desktop or sshd dies if its oom_score is highest",
        "low_memory_warnings_enabled is not True: nobody is warned"]),
    ({"soft_threshold_min_mem": "2 %", "soft_threshold_min_swap": "4 %"},
     "@BADNESS_ADJ_RE_NAME -5 /// x\n", [
        "pressure counts only on a machine with swap",
        "soft and hard thresholds are the same: SIGKILL at once, nothing is asked to exit first"]),
    ({"soft_threshold_min_mem": "2 %"}, "@BADNESS_ADJ_RE_NAME -1 /// x\n",
     ["pressure counts only on a machine with swap"]),
    ({"soft_threshold_min_swap": "4 %"}, "@BADNESS_ADJ_RE_NAME 0 /// x\n", [
        "pressure counts only on a machine with swap",
        "no process is avoided: a database, the desktop or sshd dies if its oom_score is highest",
    ]),
])  # fmt: skip
def test_each_trap_is_named_where_it_is_one(
    tmp_path: Path, changed: dict[str, str], more: str, traps: list[str]
) -> None:
    settings = dict.fromkeys(
        ("psi_checking_enabled", "zram_checking_enabled", "ignore_positive_oom_score_adj",
         "low_memory_warnings_enabled") if changed else (), "True",
    )  # fmt: skip
    origin = nohang(tmp_path, more, **settings, **changed).origin
    assert origin is not None
    assert list(origin.traps) == traps


def test_the_configuration_is_that_of_the_one_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(f"{line}\n" for line in NANO.splitlines())
    for name, share in (("first", 3), ("last", 6)):
        (tmp_path / name).write_text(
            text.replace("hard_threshold_min_mem = 2 %", f"hard_threshold_min_mem = {share} %")
            .replace("soft_threshold_min_mem = 5 %", "soft_threshold_min_mem = 9 %")
        )  # fmt: skip
    first, last = str(tmp_path / "first"), str(tmp_path / "last")
    running = [("/proc/7/cmdline", ["/usr/bin/python3", "/usr/sbin/nohang", "-m", "-c"])]
    for words, expected in ((["-c", first], 0.03), (["-c", first, "--config", last], 0.06)):
        monkeypatch.setattr(
            "oomkit.policy.peers.nohang.command_lines",
            lambda _name, w=words: [*running, ("/proc/8/cmdline", ["python3", "nohang", "-m", *w])],
        )
        (available,) = (
            one.threshold
            for rule in find_policy("nohang:").when
            for one in rule.conditions
            if rule.level == "hard"
            and one.kind == "available"
            and len(rule.conditions) == 2
            and {one.kind for one in rule.conditions} == {"available", "swap_free"}
        )
        assert available == expected
