"""Lines of those who pass on that something was killed, and of plain deaths by signal 9."""

from oomkit.klog.userspace.form import ID, POD, SIZE, UNIT, Form

_VICTIM = r"victim process: (?P<comm>[^,\"]+), pid: (?P<pid>\d+)"

NOTICE_FORMS = (
    Form(
        "node-problem-detector",
        "notice",
        r"(?:kernel-monitor|OOMKilling).*?(?P<reason>(?:Memory cgroup o|O)ut of memory)?: "
        r"(?:Killed|Kill) process (?P<pid>\d+) \((?P<comm>[^)]*)\)",
        words=("kernel-monitor", "OOMKilling"),
        killer="kernel",
    ),
    Form(
        "kubelet",
        "notice",
        r"(?:System|Cgroup) OOM encountered, " + _VICTIM,
        words=("OOM encountered",),
        killer="kernel",
    ),
    Form(
        "kubelet",
        "notice",
        r"System OOM encountered(?!,)",
        words=("OOM encountered",),
        killer="kernel",
    ),
    Form(
        "node-problem-detector",
        "notice",
        r"(?<![\w#/])(?P<reason>OOMKilling)\b(?!['\"]?\s*[:=]\s*(?:false|true|\"?0))",
        words=("OOMKilling",),
        killer="kernel",
    ),
    Form(
        "kubelet",
        "notice",
        r"^(?:(?=.*?containerID:\w+://" + ID + r"))?.*?\breason:(?P<reason>OOM ?Killed)\b",
        words=("reason:OOM",),
        killer="kernel",
    ),
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
    # BCC's oomkill and bpftrace's oomkill.bt.
    Form(
        "oomkill",
        "notice",
        r"Triggered by PID \d+ \(\"?.*?\"?\), OOM kill of PID (?P<pid>\d+) "
        r"\(\"?(?P<comm>.*?)\"?\)",
        words=("OOM kill of PID",),
        killer="kernel",
    ),
    Form(
        "kubelet",
        "notice",
        r"(?:^|\s)(?:[\w-]+\s+)?(?P<pod>[a-z0-9][a-z0-9.-]*)\s+\d+/\d+\s+(?P<reason>(?:Init:)?"
        r"OOMKilled)(?:\s+(?P<count>\d+))?",
        words=("OOMKill",),
        killer="kernel",
    ),
    Form(
        "kubelet",
        "notice",
        r"[Cc]ontainer[ =\"']+(?P<name>[\w.-]+)[\"']?(?: in pod " + POD + r")?.{0,60}?(?:OOMKilled"
        r"|OOM[- ]?[Kk]ill)",
        words=("OOM",),
        tags=("kubelet",),
        killer="kernel",
    ),
    Form(
        "gitlab-runner",
        "notice",
        r"Error in container (?P<name>[\w.-]+): exit code: \d+, reason: '(?P<reason>OOMKilled)'",
        words=("OOMKilled",),
        killer="kernel",
    ),
    Form(
        "docker",
        "notice",
        r"[\"']?O(?:OM|om)Killed[\"']?\s*[:=]\s*true",
        words=("OOMKilled", "oomKilled", "OomKilled"),
        killer="kernel",
    ),
    Form(
        "kube-state-metrics",
        "notice",
        r"kube_pod_container_status_(?:last_)?terminated_reason\{"
        r"(?=[^}]*\breason=\"(?P<reason>OOMKilled)\")(?:(?=[^}]*\bcontainer=\"(?P<name>[^\"]+)\"))?"
        r"(?:(?=[^}]*\bnamespace=\"(?P<namespace>[^\"]+)\"))?(?:(?=[^}]*\bpod=\"(?P<pod>[^\"]+)\"))?"
        r"[^}]*\}\s+[1-9]",
        words=("OOMKilled",),
        killer="kernel",
    ),
    Form(
        "kubelet",
        "notice",
        r"(?<![\w#/.])(?P<reason>OOMKilled|OOMKilling)\b(?!['\"]?\s*[:=]\s*(?:false|true|\"?0)"
        r"|[^{}]*\}\s+[\d.]+\s*$)"
        r"|\"?reason\"?: ?\"?(?P<spaced>OOM Killed)\b",
        words=("OOMKill", "OOM Killed"),
        killer="kernel",
    ),
    Form(
        "containerd",
        "notice",
        r"TaskOOM.{0,20}?(?:ContainerID:|container_id:\\*\")" + ID,
        words=("TaskOOM",),
    ),
    Form(
        "containerd",
        "notice",
        r"/tasks/oom\b.{0,60}?(?:container_?[iI][dD]\\*\"?[:=]\s*\\*\"?|container=)" + ID,
        words=("/tasks/oom",),
    ),
    Form(
        "containerd",
        "notice",
        r"/tasks/oom \{\"container_id\": ?\"(?P<name>[\w.-]+)\"",
        words=("/tasks/oom",),
    ),
    Form(
        "docker",
        "notice",
        r"container=" + ID + r".*topic=/tasks/oom\b",
        words=("/tasks/oom",),
    ),
    Form("containerd", "notice", r"TaskOOM|/tasks/oom\b", words=("TaskOOM", "/tasks/oom")),
    Form(
        "kubelet",
        "notice",
        r"Created an OOM event in container \\?\"(?P<cgroup>[^\"\s\\]*)",
        words=("OOM event",),
    ),
    Form(
        "docker",
        "notice",
        r"OOM event.*container",
        words=("OOM event",),
        tags=("dockerd", "docker"),
    ),
    Form("anybody", "notice", r"OOM event.*container", words=("OOM event",)),
    Form(
        "docker",
        "notice",
        r"container oom " + ID + r"(?: \((?:.*?\b(?:name|io\.kubernetes\.container\.name)="
        r"(?P<name>[\w.-]+))?)?",
        words=("container oom",),
    ),
    Form(
        "docker",
        "notice",
        r"\"status\": ?\"oom\", ?\"id\": ?\"" + ID,
        words=("\"oom\"",),
    ),
    Form(
        "runc",
        "notice",
        r"(?:runc|crun).{0,60}?(?:OOM|oom)(?:[-_ ]kill| event| rec)"
        r"|container init was OOM-killed(?: \((?P<reason>[^)]*)\))?",
        words=("runc", "crun", "OOM-killed"),
    ),
    Form(
        "conmon",
        "notice",
        r"(?:^|conmon(?: [0-9a-f]+)? <\w+>: |conmon\[\d+\]: )(?:OOM received|OOM event received)",
        words=("OOM ",),
    ),
    Form(
        "cri-o",
        "notice",
        r"(?:OOM|oom).{0,40}?[Cc]ontainer " + ID + r"|[Cc]ontainer (?P<name>[\w.-]+).{0,60}?OOM",
        words=("OOM", "oom"),
        tags=("crio", "cri-o"),
    ),
    Form(
        "systemd",
        "notice",
        UNIT + r": (?:A process of this unit has been killed by the OOM killer"
        r"|Unit process killed by the OOM killer|The kernel OOM killer killed some processes)",
        words=("OOM killer",),
        killer="kernel",
    ),
    Form(
        "systemd",
        "notice",
        UNIT + r": (?P<reason>Failed with result 'oom-kill')",
        words=("oom-kill",),
    ),
    Form("systemd", "notice", r"^(?P<reason>Result=oom-kill)$", words=("oom-kill",)),
    Form(
        "kernel",
        "notice",
        r"^oom_kill (?P<count>[1-9]\d{0,8})$",
        words=("oom_kill ",),
        killer="kernel",
    ),
    Form(
        "systemd",
        "notice",
        r"Active: \w+ \((?P<reason>Result: oom-kill)\)",
        words=("oom-kill",),
    ),
    Form(
        "slurm",
        "notice",
        r"Detected (?P<count>\d+) oom[-_]kill event(?:s|\(s\))? in (?:StepId|JobId|step|job)[= ]"
        r"(?P<job>[\w.+]+?)(?=\.? |\.$|,|$)",
        words=("oom-kill event", "oom_kill event"),
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
    Form(
        "slurm",
        "notice",
        r"^(?P<job>\d+(?:_\d+)?(?:\.\w+)?)[\s|].*?\b(?P<reason>OUT_OF_ME(?:MORY|\+))",
        words=("OUT_OF_ME",),
    ),
    Form(
        "slurm",
        "notice",
        r"(?:State: |JobState=|\s)(?P<reason>OUT_OF_ME(?:MORY|\+))",
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
        "cloud-run",
        "notice",
        r"Memory limit of (?P<limit>" + SIZE + r") exceeded with (?P<used>" + SIZE + r") used",
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
        "cloud-foundry",
        "notice",
        r"(?:[Aa]pp instance exited with guid (?P<job>[\w-]+)\b.*?)?"
        r"(?P<reason>(?:[Ee]xit(?:ed)? (?:with )?status|[Cc]ode) \d+ \(out of memory\))",
        words=("(out of memory)",),
    ),
    Form(
        "systemd",
        "sigkill",
        UNIT + r": (?:Main process exited|main process exited|Control process exited)"
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
        "docker",
        "sigkill",
        r"container die " + ID + r" \(.*?exitCode=137\b(?:.*?\bname=(?P<name>[\w.-]+))?",
        words=("137",),
    ),
    Form(
        "shell",
        "sigkill",
        r"line \d+: +(?P<pid>\d+) Killed +(?:\S*/)?(?P<comm>[^\s/\"']+)",
        words=(" Killed ",),
    ),
    Form(
        "anybody",
        "sigkill",
        r"(?:[Ee]xit(?:ed)?|return(?:ed)?)[ _a-z]{0,24}(?:[Cc]ode|status|with)?"
        r"\\?\"?[ :=]{1,16}[('\"]?137\b",
        words=("137",),
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
        r"Negsignal\.SIGKILL|(?:exit|return)[ _]?code\"?[ :=]{1,3}-9\b",
        words=("Negsignal", "code"),
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
