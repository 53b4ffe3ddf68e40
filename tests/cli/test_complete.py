"""Completion: what the shell is told through click's protocol, and what real shells make of it."""

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oomkit.policy import builtin
from tests.conftest import Command

ROOT = Path(__file__).parents[2]
SCENARIO = str(ROOT / "scenarios" / "database-and-leak.toml")
_ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
SHOP = str(ROOT / "docs" / "examples" / "shop.json")


def completed(oomkit: Command, *words: str) -> list[tuple[str, str]]:
    """Type and value of each thing offered for the last word."""
    typed = " ".join(("oomkit", *words))
    environment = {
        "_OOMKIT_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words)),
    }
    done = oomkit(env=environment)
    assert done.returncode == 0
    assert done.stderr == ""
    return [(kind, value) for kind, _, value in (ln.partition(",") for ln in done.stdout.split())]


@pytest.mark.parametrize(
    "words",
    [
        ("run", "scen"),
        ("explain", "/var/lo"),
        ("explain", "a.log", "/var/lo"),
        ("sweep", "swe"),
        ("agree", "scen"),
        ("rank", "--from", "sh"),
        ("run", SCENARIO, "--html", "x"),
        ("guard", "--journal", "x"),
        ("history", "--store", "x"),
        ("snapshot", "-o", "x"),
        ("sweep", "-o", "x"),
        ("guard", "--policy", "mine"),
        ("run", SCENARIO, "--policy", "mine"),
    ],
    ids=" ".join,
)
def test_files_are_completed_by_the_shell(oomkit: Command, words: tuple[str, ...]) -> None:
    assert completed(oomkit, *words) == [("file", words[-1])]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("ra",), {"rank"}),
        (("help", "sn"), {"snapshot"}),
        (("guard", "--policy", "e"), {"earlyoom"}),
        (("run", SCENARIO, "--policy", ""), set(builtin.NAMES)),
        (
            ("run", SCENARIO, "--guard", ""),
            {"none", "oomkit", "earlyoom", "nohang", "systemd-oomd"},
        ),
        (("run", SCENARIO, "--on", "q"), {"qemu"}),
        (("rank", "--kernel", "4.18-el8-4"), {"4.18-el8-477"}),
        (("kernels", "--of", "6.1"), {"6.1", "6.10", "6.14", "6.19"}),
        (("daemons", "--fetch", "ear"), {"earlyoom"}),
        (
            ("rank", "--from", SHOP, "--cgroup", "/system.slice/php"),
            {"/system.slice/php8.2-fpm.service"},
        ),
        (("run", SCENARIO, "--set", "machine.re"), {"machine.reserved=", "machine.read_rate="}),
        (("run", SCENARIO, "--set", "task.leak.oom_s"), {"task.leak.oom_score_adj="}),
        (("guard", "--set", "whom.gr"), {"whom.growth=", "whom.growth_over="}),
        (("sweep", "s.toml", "--set", "ru"), {"runs="}),
        (("history", "--kind", "kern"), {"kernel_kill"}),
    ],
)
def test_names_are_completed(oomkit: Command, words: tuple[str, ...], names: set[str]) -> None:
    assert {value for kind, value in completed(oomkit, *words) if kind == "plain"} == names


def test_what_cant_be_found_out_is_not_offered_and_not_complained_of(oomkit: Command) -> None:
    assert completed(oomkit, "run", "none.toml", "--set", "task.x") == []
    assert completed(oomkit, "rank", "--from", "none.json", "--cgroup", "/x") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_in_contrib_are_what_the_command_prints(oomkit: Command, shell: str) -> None:
    name = {"bash": "oomkit.bash", "zsh": "_oomkit", "fish": "oomkit.fish"}[shell]
    kept = (ROOT / "contrib" / "completion" / name).read_text()
    done = oomkit(env={"_OOMKIT_COMPLETE": f"{shell}_source"})
    if shell == "bash" and done.returncode:
        pytest.skip(f"no bash: {done.stderr}")
    assert kept.strip() == done.stdout.strip()


def test_bash_completes_a_policy_and_leaves_files_to_itself() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    script = f"""
    export PATH={Path(sys.executable).parent}:$PATH
    source {ROOT}/contrib/completion/oomkit.bash
    compopt() {{ echo "compopt $1 $2"; }}
    ask() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
             _oomkit_completion oomkit; echo "${{COMPREPLY[@]}}"; }}
    ask oomkit guard --policy noh
    ask oomkit run scen
    complete -p oomkit
    """
    done = subprocess.run(
        [bash, "--norc", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "compopt -o default"
    assert lines[1] == "nohang"
    assert lines[2:4] == ["compopt -o default", ""]
    assert "_oomkit_completion oomkit" in lines[4]


def test_fish_completes_names_with_their_whole_description() -> None:
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("needs fish")
    script = f"""
    source {ROOT}/contrib/completion/oomkit.fish
    complete -C "oomkit guard --policy noh"
    complete -C "oomkit run scenarios/database-and-l"
    complete -C "oomkit guard --polic"
    """
    done = subprocess.run(
        [fish, "--no-config", "-c", script], cwd=ROOT, env=_ENVIRONMENT,
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    policy, file, option = done.stdout.splitlines()
    assert (policy, file) == ("nohang", "scenarios/database-and-leak.toml")
    assert option.startswith("--policy\tA built-in policy (default, ")


def test_zsh_completes_again_and_again_by_a_function_that_it_loads(tmp_path: Path) -> None:
    """At a terminal, from a directory of ``fpath``."""
    zsh = shutil.which("zsh")
    if zsh is None:
        pytest.skip("needs zsh")
    terminal, its = pty.openpty()
    shell = subprocess.Popen(
        [zsh, "-f", "-i"], stdin=its, stdout=its, stderr=its, cwd=ROOT, start_new_session=True,
        env={**_ENVIRONMENT, "TERM": "dumb", "COLUMNS": "200"},
    )  # fmt: skip
    os.close(its)

    def typed(text: str, wanted: str) -> None:
        """Wait for what the shell puts on the line; the test's timeout ends the wait."""
        os.write(terminal, f"\x15{text}".encode())
        seen = ""
        while wanted not in seen:
            seen += os.read(terminal, 4096).decode(errors="replace")

    try:
        typed(
            f"fpath=({ROOT}/contrib/completion $fpath); autoload -U compinit; "
            f"compinit -u -d {tmp_path}/dump; echo re''ady\n", "ready",
        )  # fmt: skip
        typed("oomkit guard --policy noh\t", "nohang")
        typed("oomkit run scenarios/database-and-l\t", "database-and-leak.toml")
        typed("oomkit explain CONTRIB\t", "CONTRIBUTING.md")
    finally:
        shell.kill()
        shell.wait()
        os.close(terminal)


@pytest.mark.parametrize("table", ["machine", "task.postgres", "cgroup.db"])
def test_the_keys_that_are_completed_are_those_that_a_scenario_has(
    oomkit: Command, tmp_path: Path, table: str
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        'name = "a"\nduration = "1s"\n[machine]\nram = "1G"\n[[cgroup]]\nname = "db"\n'
        '[[task]]\nname = "postgres"\nsteps = [{ touch = "1M" }]\n'
    )
    refused = oomkit("run", str(path), "--check", "--set", f"{table}.no_such_key=1")
    known = refused.stderr.partition("unknown key; known: ")[2].strip().split(", ")
    offered = completed(oomkit, "run", str(path), "--set", f"{table}.")
    keys = [value.removeprefix(f"{table}.") for kind, value in offered if kind == "plain"]
    # A table is offered by its keys, as one is set.
    of_tables = {"io_max.rbps=", "io_max.wbps="} if table == "cgroup.db" else set()
    assert of_tables <= set(keys)
    found = {key.partition(".")[0].removesuffix("=") for key in keys}
    assert (sorted(found), len(keys)) == (sorted(known), len(known) + max(len(of_tables) - 1, 0))
