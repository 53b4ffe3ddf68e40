"""earlyoom's options as a policy; the right answers follow from its source, by version."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.decider import Decider
from oomkit.policy.engine.trigger import Watch
from oomkit.policy.read import find_policy
from oomkit.policy.records import Policy
from tests.policy.peers.trees import TOTAL_KB, chosen, lines_of, process, read, reading, write

DEFAULT = "etc/default/earlyoom"
OLD = {"usr/bin/earlyoom": "...earlyoom 1.7-1\n..."}
"""Of the program the text counts that it prints."""
LOW = reading(available=0.07, swap=0.0, anon_kb=0.9 * TOTAL_KB)


def earlyoom(root: Path, options: str, **files: str) -> Policy:
    return read("earlyoom", root, {DEFAULT: f"EARLYOOM_ARGS={shlex.quote(options)}\n", **files})


def bounds(policy: Policy) -> list[tuple[str, dict[str, list[float]]]]:
    found: list[tuple[str, dict[str, list[float]]]] = []
    for rule in policy.when:
        said: dict[str, list[float]] = {}
        for one in rule.conditions:
            said.setdefault(one.kind, []).append(round(one.threshold, 6))
        found.append((rule.level, said))
    return found


@pytest.mark.parametrize(
    ("options", "term", "kill"),
    [
        ("", {"available": [0.1], "swap_free": [0.1]}, {"available": [0.05], "swap_free": [0.05]}),
        # msg.c, parse_term_kill_tuple(): KILL is half of TERM, and raises it where it is larger.
        ("-m 20", {"available": [0.2], "swap_free": [0.1]},
         {"available": [0.1], "swap_free": [0.05]}),
        ("-m 5,8 -s 100,50", {"available": [0.08], "swap_free": [1.0]},
         {"available": [0.08], "swap_free": [0.5]}),
        ("-m 4 -m 2,1", {"available": [0.02], "swap_free": [0.1]},
         {"available": [0.01], "swap_free": [0.05]}),
        # main.c, main(): of -m and -M the lower counts: both have to be met.
        ("-M 400000,100000 -m 10", {"available": [400000.0, 0.1], "swap_free": [0.1]},
         {"available": [100000.0, 0.05], "swap_free": [0.05]}),
        ("-S 1024", {"available": [0.1], "swap_free": [1024.0]},
         {"available": [0.05], "swap_free": [512.0]}),
    ],
)  # fmt: skip
def test_two_thresholds_of_memory_and_of_swap(
    tmp_path: Path, options: str, term: dict[str, list[float]], kill: dict[str, list[float]]
) -> None:
    assert bounds(earlyoom(tmp_path, options, **OLD)) == [("soft", term), ("hard", kill)]


def test_a_share_is_of_what_killing_can_free_since_1_8(tmp_path: Path) -> None:
    """meminfo.c, parse_meminfo(): MemAvailable / (MemAvailable + AnonPages); 1.7: / MemTotal."""
    new, old = earlyoom(tmp_path / "new", ""), earlyoom(tmp_path / "old", "", **OLD)
    half = reading(available=0.045, swap=0.0, anon_kb=0.405 * TOTAL_KB)
    hog = [process(5, "hog", anon_kb=1e6, oom_score=700)]
    assert chosen(new, hog, half) == ["hog"]
    assert (new.origin and new.origin.version, old.origin and old.origin.version) == ("1.9", "1.7")
    # A tenth of what killing can free is 4.5 % of memory: below SIGKILL's 5 % by 1.7 alone.
    levels = [Watch(compile_plan(policy)).see(half).level for policy in (new, old)]
    assert levels == [2, 3]


@pytest.mark.parametrize(
    ("options", "version", "victim"),
    [
        # kill.c, is_larger(): the highest oom_score, whatever the size.
        ("", "1.7", "tab"),
        # kill.c: --avoid takes 300 points of what its name matches anywhere.
        ("--avoid '^ta'", "1.7", "postgres"),
        ("--avoid 'tab|postgres'", "1.7", "hog"),
        # kill.c, BADNESS_PREFER: 300 points more.
        ("--prefer ^hog$", "1.7", "hog"),
        # 1.8, --ignore: never, not even where nothing else is left.
        ("--ignore 'tab|postgres|hog|shell'", "1.9", None),
        # 1.8, --ignore-root-user.
        ("--ignore-root-user", "1.9", "postgres"),
        # 1.8, --sort-by-rss: VmRSS; VMRSS_AVOID takes 3 GiB.
        ("--sort-by-rss", "1.9", "hog"),
        ("--sort-by-rss --avoid hog", "1.9", "postgres"),
        ("--sort-by-rss --prefer shell", "1.9", "shell"),
    ],
)
def test_the_right_victim(tmp_path: Path, options: str, version: str, victim: str | None) -> None:
    policy = earlyoom(tmp_path, options, **{"usr/bin/earlyoom": f"earlyoom v{version}\n"})
    candidates = [
        process(10, "tab", anon_kb=1e5, oom_score=900, oom_score_adj=300, uid=0),
        process(11, "postgres", anon_kb=2e6, oom_score=800, uid=5),
        process(12, "hog", anon_kb=2.5e6, oom_score=790, uid=0),
        process(13, "shell", anon_kb=1e4, oom_score=667, uid=5),
        process(14, "guarded", anon_kb=3e6, oom_score=0, oom_score_adj=-1000, uid=5),
    ]
    assert chosen(policy, candidates, LOW) == ([] if victim is None else [victim])


def test_of_equal_scores_the_larger_resident_one(tmp_path: Path) -> None:
    """kill.c, is_larger(): VmRSS decides, of which swap is no part."""
    policy = earlyoom(tmp_path, "", **OLD)
    swapped = process(10, "swapped", anon_kb=1e5, swap_kb=9e5, oom_score=700)
    assert chosen(policy, [swapped, process(11, "here", anon_kb=2e5, oom_score=700)], LOW) == [
        "here"
    ]


def test_points_below_0_are_no_victim_up_to_1_7(tmp_path: Path) -> None:
    """kill.c, find_largest_process(): `victim` begins with 0 points in 1.7, with -9999 in 1.8."""
    candidates = [process(10, "db", anon_kb=1e5, oom_score=200)]
    for version, victims in (("1.7", []), ("1.8.2", ["db"])):
        options = {"usr/bin/earlyoom": f"earlyoom v{version}\n"}
        policy = earlyoom(tmp_path / version, "--avoid db", **options)
        assert chosen(policy, candidates, LOW) == victims


def test_sigkill_follows_by_level_alone(tmp_path: Path) -> None:
    """kill.c, kill_wait(): while memory is between the two, SIGTERM is all a process gets."""
    decider = Decider(compile_plan(earlyoom(tmp_path, "", **OLD)))
    hog = process(5, "hog", anon_kb=1e6, oom_score=700)
    assert decider.look(LOW).choose
    act = decider.choose([hog])
    assert act is not None
    assert [one.name for one in act.signals] == ["TERM"]
    later = reading(300.0, available=0.07, swap=0.0)
    assert not decider.look(later).signals
    worse = reading(300.1, available=0.03, swap=0.0)
    assert [one.name for one in decider.look(worse).signals] == ["KILL"]


def test_nothing_is_dropped_in_silence(tmp_path: Path) -> None:
    options = "-r 60 -g -n -p -N /usr/bin/told -P /usr/bin/before --kernel-oom -k --syslog --dryrun"
    policy = earlyoom(tmp_path, options)
    assert policy.origin is not None
    for word in ("-r 60", "-g", "-p", "-N /usr/bin/told", "-P /usr/bin/before", "--kernel-oom",
                 "-k", "--syslog"):  # fmt: skip
        assert any(f"{DEFAULT}:1: {word}: " in line for line in policy.origin.left_out), word
    assert policy.how.notify
    assert {rule.level for rule in policy.when} == {"warn"}


@pytest.mark.parametrize(
    ("options", "trap"),
    [
        ("-m 10,0", "SIGKILL threshold is 0"),
        ("-m 10,10 -s 10,10", "SIGKILL at once"),
        ("", "both memory and swap have to be low"),
        ("", "no name is spared"),
        ("--prefer x", "no name is avoided"),
        ("--avoid db", "only takes 300 points"),
        ("--sort-by-rss", "oom_score_adj does not count"),
        ("-m 60", "more than half of memory"),
        ("--dryrun", "kills nothing"),
    ],
)
def test_traps_are_named(tmp_path: Path, options: str, trap: str) -> None:
    origin = earlyoom(tmp_path, options).origin
    assert origin is not None
    assert any(trap in line for line in origin.traps)


@pytest.mark.parametrize(
    ("options", "place", "expected"),
    [
        ("-m 100", ":1: -m: ", "expected a number from 0 to 99, not '100'"),
        ("-m 5,x", ":1: -m: ", "or two with a comma between them, not '5,x'"),
        ("-m 0", ":1: -m: ", "expected thresholds that are not both 0"),
        ("-s 101", ":1: -s: ", "expected a number from 0 to 100"),
        ("-x", ":1: ", "expected an option that there is, not -x"),
        ("--avoid '(a'", ":1: --avoid: ", "expected a regular expression"),
        ("-r -1", ":1: -r: ", "expected a number from 0 on"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, options: str, place: str, expected: str) -> None:
    file = tmp_path / "earlyoom"
    file.write_text(f'EARLYOOM_ARGS="{options}"\n')
    (line,) = lines_of(f"earlyoom:{file}")
    assert line.startswith(f"{file}{place}")
    assert expected in line


def test_an_option_needs_its_version(tmp_path: Path) -> None:
    root = write(tmp_path, {DEFAULT: "EARLYOOM_ARGS=--sort-by-rss\n", **OLD})
    (line,) = lines_of(f"earlyoom:{root}")
    assert line.endswith("--sort-by-rss: expected earlyoom 1.8 for it; here is 1.7")


def test_the_unit_says_which_command_and_which_file(tmp_path: Path) -> None:
    unit = "usr/lib/systemd/system/earlyoom.service"
    files = {
        unit: "[Service]\nEnvironmentFile=-/etc/default/earlyoom\n"
        "ExecStart=/usr/bin/earlyoom $EARLYOOM_ARGS\n",
        DEFAULT: 'EARLYOOM_ARGS="-m 7"\nOTHER=1\n',
    }
    policy = read("earlyoom", tmp_path, files)
    assert bounds(policy)[0][1] == {"available_user": [0.07], "swap_free": [0.1]}
    assert policy.origin is not None
    assert [line.partition(": ")[2] for line in policy.origin.left_out] == [
        "OTHER: earlyoom's unit does not use it"
    ]
    dropin = "etc/systemd/system/earlyoom.service.d/own.conf"
    files[dropin] = "[Service]\nExecStart=\nExecStart=/usr/bin/earlyoom -m 3 -s 2\n"
    policy = read("earlyoom", tmp_path, files)
    assert bounds(policy)[0][1] == {"available_user": [0.03], "swap_free": [0.02]}


def test_a_command_line_of_proc_and_options_themselves(tmp_path: Path) -> None:
    running = tmp_path / "cmdline"
    running.write_bytes(b"/usr/bin/earlyoom\0-m\x008\0--avoid\0a b\0")
    policy = find_policy(f"earlyoom:{running}")
    # Which earlyoom is installed here decides of what the share is.
    assert [0.08] in bounds(policy)[0][1].values()
    assert policy.whom.prefer[0].match.patterns == (("comm", ("search:a b",)),)
    assert find_policy("earlyoom:-m 8 --avoid 'a b'").when == policy.when
    line = tmp_path / "unit.txt"
    line.write_text("/usr/bin/earlyoom -m 8\n")
    assert find_policy(f"earlyoom:{line}").when == policy.when


@given(st.floats(0.5, 99), st.floats(0, 99), st.floats(0.5, 100))
def test_every_pair_of_thresholds_is_read(term: float, kill: float, swap: float) -> None:
    policy = find_policy(f"earlyoom:-m {term:.3f},{kill:.3f} -s {swap:.3f}")
    (_, soft), (_, hard) = bounds(policy)
    for rule, memory, free in ((soft, max(term, kill), swap), (hard, kill, swap / 2)):
        (measured,) = (rule.get("available_user") or rule["available"],)
        assert measured == [pytest.approx(memory / 100, abs=1e-5)]
        assert rule["swap_free"] == [pytest.approx(free / 100, abs=1e-5)]


BOTH = (
    "both memory and swap have to be low: with swap left it does nothing, however much the "
    "machine thrashes (-s 100 ignores swap)"
)
RAISED = (
    "a raised oom_score_adj counts as if the process were larger (300 as three tenths of memory): "
    "browsers' tabs die before what fills memory"
)
NONE_SPARED = "no name is spared: a database, the desktop or sshd dies if its oom_score is highest"
SMALL_AVOID = (
    "--avoid only takes 300 points: what is larger by three tenths of memory dies all the same"
)
NEVER_KILLED = (
    "the SIGKILL threshold is 0: a process that ignores SIGTERM is never killed, and memory runs "
    "out"
)


@pytest.mark.parametrize(("options", "version", "traps"), [
    ("", "1.9", [BOTH, NONE_SPARED, RAISED]),
    ("-S 100", "1.9", [NONE_SPARED, RAISED]),  # kB: 100 or more are no share
    ("-s 100", "1.9", [NONE_SPARED, RAISED]), ("-s 99.9", "1.9", [BOTH, NONE_SPARED, RAISED]),
    ("-m 50 -s 10,0 --prefer a --avoid b", "1.9", [NEVER_KILLED, BOTH, SMALL_AVOID, RAISED]),
    ("-m 10,10 -s 10,9 --ignore x", "1.9", [BOTH, RAISED]),
    ("-m 10,9 -s 10,10 --ignore x", "1.9", [BOTH, RAISED]),
    ("-m 10,10 -s 10,10 --prefer x", "1.9", [
        "both thresholds are the same: SIGKILL at once, nothing is asked to exit first", BOTH,
        "no name is avoided: what --prefer does not match dies by its oom_score", RAISED]),
    ("-M 100,50 --avoid a", "1.7", [BOTH, SMALL_AVOID, RAISED]),
    ("-M 100,50 --avoid a", "1.8", [
        BOTH, SMALL_AVOID, RAISED,
        "-M is made a share of MemTotal and held against MemAvailable + AnonPages: it acts later"]),
    ("-m 50.1 -s 100,1 --avoid a --sort-by-rss", "1.9", [
        "-m 50.1: it acts while more than half of memory is available",
        "--sort-by-rss: oom_score_adj does not count, but for -1000; nor does swap"]),
    ("--dryrun -m 10,0", "1.9", [
        "--dryrun: earlyoom only logs, and kills nothing", NEVER_KILLED, BOTH, NONE_SPARED,
        RAISED]),
])  # fmt: skip
def test_each_trap_is_named_where_it_is_one(
    tmp_path: Path, options: str, version: str, traps: list[str]
) -> None:
    origin = earlyoom(tmp_path, options, **{"usr/bin/earlyoom": f"earlyoom v{version}\n"}).origin
    assert origin is not None
    assert list(origin.traps) == traps


@pytest.mark.parametrize(("options", "since"), [
    ("--ignore x", "1.8"), ("--ignore-root-user", "1.8"), ("--sort-by-rss", "1.8"),
    ("--syslog", "1.8"), ("-P /x", "1.9"), ("--kernel-oom", "1.9"),
])  # fmt: skip
def test_each_option_has_a_version_that_knows_it_first(
    tmp_path: Path, options: str, since: str
) -> None:
    before = {"1.8": "1.7", "1.9": "1.8.2"}[since]
    files = {DEFAULT: f"EARLYOOM_ARGS='{options}'\n"}
    root = write(tmp_path / "old", {**files, "usr/bin/earlyoom": f"earlyoom v{before}\n"})
    (line,) = lines_of(f"earlyoom:{root}")
    here = ".".join(before.split(".")[:2])
    assert f": expected earlyoom {since} for it; here is {here}" in line
    root = write(tmp_path / "new", {**files, "usr/bin/earlyoom": f"earlyoom v{since}\n"})
    assert find_policy(f"earlyoom:{root}").when
