"""Lines of container runtimes, the kubelet and systemd, which pass on that something was killed."""

from oomkit.klog.userspace.form import ID, POD, UNIT, Form

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
        "kubelet",
        "notice",
        r"^(?:(?=.*?containerID[:=]\w+://" + ID + r"))?(?:(?=.*?\), name=(?P<name>[\w.-]+)))?"
        r".*?\breason[:=](?P<reason>OOM ?Killed)\b",
        words=("reason:OOM", "reason=OOM"),
        killer="kernel",
    ),
    # Alerts on the metrics of kube-state-metrics.
    Form(
        "kubelet",
        "notice",
        r"[Cc]ontainer (?P<name>[a-z0-9][\w.-]*) in pod (?:(?P<namespace>[a-z0-9-]+)/)?"
        r"(?P<pod>[a-z0-9][a-z0-9.-]*) has been (?P<reason>OOMKilled)"
        r"(?: (?P<count>\d{1,6}) times)?",
        words=("OOMKilled",),
        killer="kernel",
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
        r"(?:^(?P<namespace>[a-z0-9][a-z0-9-]*)\s+|(?:^|\s)(?:[\w-]+\s+)?)"
        r"(?P<pod>[a-z0-9][a-z0-9.-]*)\s+\d+/\d+\s+(?P<reason>(?:Init:)?"
        r"OOMKilled)\b",
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
        "docker",
        "notice",
        # Not of a program's variable.
        r"(?:(?<![\w.])|(?<=State\.)|(?<=\s\.))[\"']?O(?:OM|om)Killed[\"']?\s*[:=]\s*true",
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
        r"terminated:map\[(?=[^\]]*\breason:(?P<reason>OOM ?Killed)\b)"
        r"(?:(?=[^\]]*\bcontainerID:\w+://(?P<container>[0-9a-f]{12,64})))?",
        words=("terminated:map",),
        killer="kernel",
    ),
    Form(
        "kubelet",
        "notice",
        r"^(?!(?:title|summary|description|keywords|tags|alias|name): )"
        r"(?!\S*oomkilled\s)(?!.*\w\{[^{}]*=~?\"[^\"{}]*OOMKilled)(?!\s*reason=~?\"[^\"]*\",?\s*$)"
        r"(?:\W*|.*?(?:[:=\"'(|\[,]\s*|\s\s|\t"
        r"|\b(?:was|were|got|been|[Ss]tatus|[Rr]eason|[Ss]tate) ))"
        r"(?<![\w#/.])(?<!- name: )(?P<reason>OOMKilled)\b"
        # A field of a type, or of a description of types.
        r"(?!\s+(?:#|[\u2713\u2714\u2717\u2718\u2705\u274c]))"
        r"(?!\?|\W*\?\s*$|`? *(?:[\u2192\u25ba\u21d2]|[-=]+>)"
        r"|\s+\*?(?:bool|boolean|Bool|Boolean)\b|:\s*$|:\s+[a-z_]\w*\.\w)"
        r"(?!['\"]?\s*[:=]\s*(?:false|true|\"?0|\{\{)|[^{}]*\}\s+[\d.]+\s*$)"
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
    Form(
        "containerd",
        "notice",
        r"(?:\b(?:level|msg|topic|type|ns)=.*?|^|\d )"
        r"(?:\"?TaskOOM event|containerd\.events\.TaskOOM|/tasks/oom\b)",
        words=("TaskOOM", "/tasks/oom"),
    ),
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
    Form("anybody", "notice", r"\bOOM event.*container", words=("OOM event",)),
    Form(
        "docker",
        "notice",
        r"container oom "
        + ID
        + r"(?:(?=.*?io\.kubernetes\.pod\.name=(?P<pod>[\w.*-]+)))?"
        r"(?:(?=.*?io\.kubernetes\.pod\.namespace=(?P<namespace>[\w-]+)))?"
        r"(?: \((?:.*?\b(?:name|io\.kubernetes\.container\.name)="
        r"(?P<name>[\w.-]+))?)?",
        words=("container oom",),
    ),
    # Plugins of monitoring systems.
    Form(
        "docker",
        "notice",
        r"[Cc]ontainer "
        + ID
        + r"(?: \((?P<name>[\w.-]+)\))? was (?:OOM[- ]?[Kk]illed"
        r"|killed by (?:the )?OOM[- ]?[Kk]iller)",
        words=("OOM",),
        killer="kernel",
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
        UNIT + r": (?:A process (?:of this unit )?has been killed by the OOM killer"
        r"|Unit process killed by the OOM killer|The kernel OOM killer killed some processes)",
        words=("OOM killer",),
        killer="kernel",
    ),
    Form(
        "systemd",
        "notice",
        r"\bA process of this unit has been killed by the OOM killer",
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
        r"^(?:/sys/fs/cgroup(?P<cgroup>/\S+)/memory\.(?:events(?:\.local)?|oom_control):)?"
        r"oom_kill (?P<count>[1-9]\d{0,8})$",
        words=("oom_kill ",),
        killer="kernel",
    ),
    Form(
        "systemd",
        "notice",
        r"Active: \w+ \((?P<reason>Result: oom-kill)\)",
        words=("oom-kill",),
    ),
    # OpenVZ's, when kills follow each other.
    Form(
        "kernel",
        "notice",
        r"OOM killer in rage, (?P<processes>\d+) tasks killed(?: in (?P<cgroup>ub \d+))?",
        words=("OOM killer in rage",),
        killer="kernel",
    ),
    # A sentence, or with the number left out.
    Form(
        "kernel",
        "notice",
        r"(?:(?P<reason>(?:Memory cgroup o|O)ut of memory): )?[Kk]illed process "
        r"(?:(?P<pid>\d{1,9})(?:, UID \d+,)? )?\((?P<comm>[^()]{1,15})\)",
        words=("illed process ",),
        killer="kernel",
    ),
)  # fmt: skip
