"""Lines of batch systems and hosted platforms, which pass on that a job or an app was killed."""

from oomkit.klog.userspace.form import ID, SIZE, Form

PLATFORM_FORMS = (
    Form(
        "azure",
        "notice",
        r"[Cc]ontainer '(?P<name>[\w.-]+)' was terminated with exit code '\d+' and reason "
        r"'(?P<reason>OOMKilled)'",
        words=("OOMKilled",),
        killer="kernel",
    ),
    Form(
        "flux",
        "notice",
        r"flux-shell\[\d+\]: (?:ERROR: )?oom: (?P<reason>Memory cgroup out of memory): killed "
        r"(?P<processes>\d+) tasks?(?: on (?P<node>[\w.-]+\w))?",
        words=("flux-shell",),
        killer="kernel",
    ),
    Form(
        "htcondor",
        "notice",
        r"(?:\b(?P<job>\d+\.\d+)\b.*?|[Jj]ob.{0,40}?)\b(?P<reason>put on hold by \S+ due to memory "
        r"usage [\w.]+\w)",
        words=("due to memory usage",),
    ),
    Form(
        "gitlab-runner",
        "notice",
        r"Error in container (?P<name>[\w.-]+): exit code: \d+, reason: '(?P<reason>OOMKilled)'",
        words=("OOMKilled",),
        killer="kernel",
    ),
    Form(
        "slurm",
        "notice",
        r"(?:slurmstepd-(?P<node>[\w.-]+): error: )?Detected (?P<count>\d+) "
        r"oom[-_]kill event(?:s|\(s\))? in (?:StepId|JobId|step|job)[= ]"
        r"(?P<job>[\w.+]+?)(?=\.? |\.?[\"'`]|\.$|,|$)",
        words=("oom-kill event", "oom_kill event"),
        killer="kernel",
    ),
    # What a person quotes of it, without its beginning.
    Form(
        "slurm",
        "notice",
        r"\bin (?:StepId=|step )(?P<job>[\w.+]+?)(?: cgroup)?\. Some of your processes may have "
        r"been killed by the cgroup out-of-memory",
        words=("cgroup out-of-memory",),
        killer="kernel",
    ),
    Form(
        "slurm",
        "notice",
        r"srun: error: (?P<node>[\w.-]+): tasks? (?P<task>[\d,-]+): Out Of Memory",
        words=("Out Of Memory",),
        killer="kernel",
    ),
    Form(
        "slurm",
        "notice",
        r"slurmstepd(?:-\S+)?: error: (?P<reason>Exceeded (?:job|step) memory limit)",
        words=("memory limit",),
    ),
    # A row of sacct or squeue, what seff and scontrol print, a mail's subject; prose is none.
    Form(
        "slurm",
        "notice",
        r"^(?P<job>\d+(?:_\d+)?(?:\.[\w+]+)?)(?:\s{2,}|\||\s+(?=OUT_OF_ME)|\s+\S+\s+(?=.*OUT_OF_ME\S+\s+\d+:\d+))"
        r"(?:.*?[\s|])?(?P<reason>OUT_OF_ME(?:MORY|\+))(?=\s+\d+:\d+|\||\s{2,}|\s*$)",
        words=("OUT_OF_ME",),
    ),
    Form(
        "slurm",
        "notice",
        r"(?:^State: |(?:^|^JobId=(?P<job>\d+)\b.*)\bJobState=)(?P<reason>OUT_OF_MEMORY)"
        r"(?= \(exit code| Reason=|\s*$)",
        words=("OUT_OF_ME",),
    ),
    Form(
        "slurm",
        "notice",
        r"Slurm (?:Array )?(?:Task )?Job_id=(?P<job>\d+(?:_\d+)?)\b.*, (?P<reason>OUT_OF_MEMORY)",
        words=("OUT_OF_ME",),
    ),
    Form(
        "slurm",
        "notice",
        r"^(?:\S+\s+)+?(?P<reason>OUT_OF_ME(?:MORY|\+))(?=\s+\d+:\d+\b|\s{2,}\S)",
        words=("OUT_OF_ME",),
    ),
    Form(
        "ecs",
        "notice",
        r"(?<=/)(?P<name>[\w.-]+) +STOPPED +ExitCode: \d+ +Reason: OutOfMemoryError: "
        r"(?P<reason>Container killed due to memory usage)",
        words=("Container killed due to memory",),
    ),
    Form(
        "ecs",
        "notice",
        r"process within container "
        + ID
        + r"(?: \(name: \"(?P<name>[\w.-]+)\"\))? died due to OOM",
        words=("died due to OOM",),
    ),
    Form(
        "ecs",
        "notice",
        r"(?:\"name\": ?\"(?P<name>[\w.-]+)\".{0,120})?OutOfMemoryError: "
        r"(?P<reason>Container killed due to memory usage)",
        words=("Container killed due to memory",),
    ),
    Form("nomad", "notice", r"Exit Message: [\"']?(?P<reason>OOM Killed)", words=("OOM Killed",)),
    Form(
        "nomad",
        "notice",
        r"(?:task \"(?P<name>[\w.-]+)\".*?)?exit code \d+, signal \d+, "
        r"and error (?P<reason>OOM Killed)",
        words=("OOM Killed",),
    ),
    Form(
        "cloud-run",
        "notice",
        r"Memory limit of \*{0,2}(?P<limit>" + SIZE + r")\*{0,2} exceeded with \*{0,2}(?P<used>"
        + SIZE + r")\*{0,2} used",
        words=("Memory limit of",),
    ),
    Form(
        "app-engine",
        "notice",
        r"Exceeded (?:soft|hard) (?:private )?memory limit of (?P<limit>" + SIZE
        + r") with (?P<used>" + SIZE + r")",
        words=("memory limit of",),
    ),
    Form(
        "cloud-functions",
        "notice",
        r"Error: (?P<reason>[Mm]emory limit exceeded)"
        r"|(?P<spaced>[Mm]emory limit exceeded)\. Function",
        words=("emory limit exceeded",),
    ),
    Form(
        "render",
        "notice",
        r"Ran out of memory \(used over (?P<limit>\d+[KMG]i?B?)\)",
        words=("used over",),
    ),
    Form(
        "cloud-foundry",
        "notice",
        r"(?:[Aa]pp instance exited with guid (?P<job>[\w-]+)\b.*?)?"
        r"(?P<reason>(?:[Ee]xit(?:ed)? (?:with )?status|[Cc]ode) \d+ \(out of memory\))",
        words=("(out of memory)",),
    ),
)  # fmt: skip
