"""Lines of plain deaths by signal 9, which any process may have sent."""

from oomkit.klog.userspace.form import ID, UNIT, Form

SIGKILL_FORMS = (
    Form(
        "systemd",
        "sigkill",
        r"(?:" + UNIT + r": )?(?:[Mm]ain process exited|Control process exited)"
        r".{0,20}?code=killed, status=9/KILL",
        words=("9/KILL",),
    ),
    Form(
        "containerd",
        "sigkill",
        r"container_id:\\*\"" + ID + r".*exit_status:137\b",
        words=("137",),
    ),
    Form(
        "containerd",
        "sigkill",
        r"\"id\": ?\"" + ID + r"\", ?\"type\": ?\"exit\".*\"pid\": ?\"init\", ?\"status\": ?137\b",
        words=("137",),
    ),
    Form(
        "docker",
        "sigkill",
        r"container die " + ID + r" \(.*?exitCode=137\b(?:.*?\bname=(?P<name>[\w.-]+))?",
        words=("137",),
    ),
    Form(
        "shell",
        "sigkill",
        r"line \d+: +(?P<pid>\d+) Killed(?: +(?:[A-Za-z_]\w*=\S* +)*[\"']?(?:[^\s\"']*/)?"
        r"(?P<comm>[^\s/\"'=$]+)[\"']?(?=\s|$))?",
        words=(" Killed",),
    ),
    Form(
        "shell",
        "sigkill",
        r"^(?:(?P<name>[\w.-]+) +\| +)?(?:(?:\[\d+\][ +-]+|\w{0,4}sh: +)?[Kk]illed$"
        r"|(?:(?:\[\d+\][ +-]+|\w{0,4}sh: +)[Kk]|K)illed"
        # A date is none.
        r" {2,}(?:\S*/)?(?![A-Z][a-z]{2} [\dA-Z])(?P<comm>[^\s/\"'=$]+).*$)",
        words=("Killed", "killed  "),
    ),
    Form(
        "docker",
        "sigkill",
        r"^(?!(?:container|process|command|job|task|script|it|child|worker|program)\b)"
        r"(?P<name>[\w.-]+) exited with code 137$",
        words=("code 137",),
    ),
    Form(
        "docker",
        "sigkill",
        r"^(?P<container>[0-9a-f]{12}) .*? Exited \(137\) .*? ago\b(?:.* (?P<name>[\w.-]+))?$",
        words=("(137)",),
    ),
    # A row of docker service ps.
    Form(
        "docker",
        "sigkill",
        r"(?:^|[\s_`])(?P<name>\w[\w-]*\.\w+)`?\s+\S+\s+(?P<node>\S+)\s+`?[A-Z]\w+`?\s+"
        r"Failed .*?\"task: non-zero exit \(137\)\"",
        words=("exit (137)",),
    ),
    # A container's name and exit status, as a format of docker's asks for them.
    Form(
        "docker",
        "sigkill",
        r"^[\"']?/(?P<name>[A-Za-z0-9][\w.-]*)[\"']?[ \t:,|=]+(?:(?:exited|false)[ \t:,|=]+){0,2}"
        r"\(?137\)?$",
        words=("137",),
    ),
    Form(
        "anybody",
        "sigkill",
        r"(?!exit 137;?$)(?:[Ee]xit(?:ed)?|return(?:ed)?)[ _a-z]{0,24}(?:[Cc]ode|status|with)?"
        r"\\?\"?(?! ?==)[ :=]{1,16}[('\"]?137\b(?!/\d)",
        words=("137",),
    ),
    Form(
        "slurm",
        "sigkill",
        r"srun: error: (?P<node>[\w.-]+): tasks? (?P<task>[\d,-]+): Killed\b",
        words=(": Killed",),
    ),
    Form(
        "lambda",
        "sigkill",
        r"(?:RequestId: (?:(?P<job>[\w-]+)|\S+) )?Error:? Runtime exited with error: signal: "
        r"killed",
        words=("signal: killed",),
    ),
    Form(
        "gunicorn",
        "sigkill",
        r"Worker (?:\(pid:|with pid )(?P<pid>\d+)\)? "
        r"(?:was sent SIGKILL|was terminated due to signal 9\b)",
        words=("SIGKILL", "signal 9"),
    ),
    Form(
        "postgres",
        "sigkill",
        r"\(PID (?P<pid>\d+)\) was terminated by signal 9\b",
        words=("signal 9",),
    ),
    Form(
        "stress",
        "sigkill",
        r"<-- worker (?P<pid>\d+) got signal 9\b",
        words=("signal 9",),
    ),
    Form(
        "compiler",
        "sigkill",
        r"Killed signal terminated program (?P<comm>[\w.+-]+)"
        r"|internal compiler error: Killed \(program (?P<program>[\w.+-]+)\)",
        words=("terminated program", "compiler error: Killed"),
    ),
    # PyTorch's.
    Form(
        "anybody",
        "sigkill",
        r"[Ww]orker \(pid (?P<pid>\d+)\) is killed by signal: Killed\b",
        words=("by signal: Killed",),
    ),
    # MPICH's launcher, and those of its kin.
    Form(
        "mpi",
        "sigkill",
        r"(?:\bPID (?P<pid>\d+) RUNNING AT (?P<node>[\w.-]+).{0,80}?)?"
        r"KILLED BY SIGNAL: 9 \(Killed\)",
        words=("BY SIGNAL: 9",),
    ),
    Form(
        "supervisord",
        "sigkill",
        r"reaped unknown pid (?P<pid>\d+) \(terminated by SIGKILL",
        words=("SIGKILL",),
    ),
    Form(
        "supervisord",
        "sigkill",
        r"(?:^|exited: )(?P<comm>[\w.:-]+) \(terminated by SIGKILL",
        words=("SIGKILL",),
    ),
    Form(
        "anybody",
        "sigkill",
        r"(?:Process '(?P<comm>[^']+)' pid:(?P<pid>\d+) )?exited "
        r"(?:prematurely: |with '?)signal 9\b",
        words=("signal 9",),
    ),
    Form(
        "anybody",
        "sigkill",
        r"exited with code SIGKILL|via signal \[SIGKILL\]|npm (?:ERR!|error) signal SIGKILL",
        words=("SIGKILL",),
    ),
    Form(
        "anybody",
        "sigkill",
        r"Negsignal\.SIGKILL|(?:exit|return)[ _]?code\"?[ :=]{1,3}-9\b|\bExitFailure \(-9\)"
        r"|\b[Pp]rocess (?:was )?terminated by signal 9\b",
        words=("Negsignal", "code", "ExitFailure", "signal 9"),
    ),
    Form(
        "anybody",
        "sigkill",
        r"(?:(?:worker process|worker|process|child)\s(?:\d+ (?=\())?\(?(?:pid:? ?)?"
        r"(?P<pid>\d+)?\)?[^\n]{0,40}?)?"
        r"(?:killed by signal 9\b|signal: killed|exited on signal 9\b)",
        words=("signal",),
    ),
)  # fmt: skip
