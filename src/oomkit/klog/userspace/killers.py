"""Lines of those who kill for want of memory themselves: daemons, batch systems, platforms."""

from oomkit.klog.userspace.form import POD, SIZE, UNIT, Form

KILLER_FORMS = (
    Form(
        "systemd-oomd",
        "kill",
        r"(?:^|systemd-oomd(?:\[\d+\])?: )Killed (?P<cgroup>/.*?\S) due to "
        r"(?P<reason>(?:m(?:e(?:m(?:o(?:r(?:y|$)|$)|$)|$)|$)|s(?:w(?:ap|$)|$)|$).*)",
        words=("Killed /",),
    ),
    Form(
        "systemd-oomd",
        "kill",
        r"(?:^\W{0,2}|systemd-oomd(?:\[\d+\])?: )Marked (?P<cgroup>(?:\.{3}|\u2026)?/.*?\S) for "
        r"killing(?: due to (?P<reason>.*))?",
        words=("Marked /", "Marked .", "Marked \u2026"),
    ),
    Form(
        "systemd-oomd",
        "kill",
        r"oomd attempting to kill (?P<pid>\d+) with (?P<signal>KILL)\b",
        words=("oomd attempting",),
    ),
    Form(
        "systemd-oomd",
        "kill",
        r"^Killed (?P<cgroup>/\S+)(?: due.*)?$",
        words=("Killed /",),
        tags=("systemd-oomd",),
    ),
    Form(
        "systemd-oomd",
        "kill",
        r"systemd-oomd(?:\[\d+\])?: Killed (?P<cgroup>/\S+)(?: due.*)?$",
        words=("Killed /",),
    ),
    Form(
        "systemd-oomd",
        "notice",
        UNIT + r": systemd-oomd killed (?:(?P<processes>\d+)|some) process",
        words=("systemd-oomd killed",),
    ),
    Form(
        "earlyoom",
        "kill",
        r"[Ss]ending (?P<signal>SIGTERM|SIGKILL) to process (?P<pid>\d+)(?: uid \d+)? "
        r"[\"']?(?P<comm>.*?)[\"']?:? ?(?:badness|oom_score|VmRSS|,|$)"
        r"(?:.*?VmRSS (?P<used>\d+ MiB))?",
        words=("to process ",),
    ),
    Form(
        "earlyoom",
        "kill",
        r"[Kk]illing process:? (?:(?P<pid>\d+) )?[\"'](?P<comm>.*?)[\"'] with signal "
        r"(?P<number>\d+)(?:, pid: (?P<pid_after>\d+))?(?:.*?VmRSS:? (?P<used>\d+ MiB))?",
        words=("illing process",),
    ),
    Form(
        "earlyoom",
        "kill",
        r"Killing process:? (?P<pid>\d+) \(?(?P<comm>[^,)]*)\)?",
        words=("Killing process",),
        tags=("earlyoom",),
    ),
    Form(
        "earlyoom",
        "kill",
        r"Killing process:? (?P<comm>[^,]+), pid: (?P<pid>\d+)",
        words=("Killing process",),
    ),
    # A branch of its first releases, which says why it spares others.
    Form(
        "earlyoom",
        "kill",
        r"^Killing process (?P<pid>\d+) \((?P<comm>[^)]*)\) with badness \d+",
        words=("illing process",),
    ),
    # Its releases up to 2018, with -k.
    Form(
        "earlyoom",
        "notice",
        r"^Invoking oom killer: ",
        words=("Invoking oom killer",),
    ),
    Form(
        "nohang",
        "kill",
        r"^[^\"]*?(?:Sending|Send|Implementing|sending) (?P<signal>SIGTERM|SIGKILL) to (?:the )?"
        r"victim"
        r"(?:.*?PID:? (?P<pid>\d+))?",
        words=("victim",),
    ),
    Form(
        "nohang",
        "kill",
        r"Run the command: kill -(?:SIG)?(?P<signal>TERM|KILL) (?P<pid>\d+)",
        words=("Run the command",),
    ),
    # Android's killers: lmkd, which calls itself lowmemorykiller, too, names the user; the
    # kernel's driver (until 4.11) does not.
    Form(
        "lmkd",
        "kill",
        r"(?:Kill(?:ing)?|lmkd *: Reclaim) '(?P<comm>[^']+)' \((?P<pid>\d+)\), uid \d+,? ?"
        r"(?:oom_(?:score_)?)?adj (?P<adj>-?\d+)(?:, state \d+)?"
        r"(?:,? to free (?P<used>\d+kB))?(?:.*?[;,] reason: (?P<reason>.+))?",
        words=("'",),
    ),
    Form(
        "lmkd",
        "kill",
        r"^Kill(?:ing)? '(?P<comm>[^']+)' \((?P<pid>\d+)\)(?:.*?adj (?P<adj>-?\d+))?",
        words=("'",),
        tags=("lmkd",),
    ),
    # With what was left out by a person; the driver prints neither resident memory nor a reason.
    Form(
        "lmkd",
        "kill",
        r"lowmemorykiller: Kill '(?P<comm>[^']+)'(?: \((?P<pid>\d+)\))?(?=.*(?:reason:|kB rss))"
        r"(?:.*?to free (?P<used>\d+kB))?(?:.*?reason: (?P<reason>[^`]+))?",
        words=("lowmemorykiller",),
    ),
    Form(
        "lowmemorykiller",
        "kill",
        r"lowmemorykiller: Kill(?:ing)? '(?P<comm>[^']+)' \((?P<pid>\d+)\)"
        r"(?: \(tgid \d+\))?(?:,? adj (?P<adj>-?\d+))?(?:.*?to free (?P<used>\d+kB))?",
        words=("lowmemorykiller",),
    ),
    Form(
        "lmkd",
        "kill",
        r"lowmemorykiller: Kill(?:ing)? '(?P<comm>[^']+)' \(adj (?P<adj>-?\d+)\)"
        r"(?:.*?to free (?P<used>\d+kB))?",
        words=("lowmemorykiller",),
    ),
    Form(
        "lowmemorykiller",
        "kill",
        r"lowmem(?:orykiller|_shrink): ?[Ss]end(?:ing)? (?:sigkill|SIGKILL) to (?P<pid>\d+) "
        r"\((?P<comm>[^)]*)\),? adj (?P<adj>-?\d+)",
        words=("lowmem",),
    ),
    # Kernels before 2.6.33 end a process whose page fault finds no memory without the OOM killer.
    Form("kernel", "kill", r"VM: killing process (?P<comm>\S+)", words=("VM: killing",)),
    # No Linux: FreeBSD kills by sizes of its own, and says so in one line.
    Form(
        "freebsd",
        "kill",
        r"\bpid (?P<pid>\d+) \((?P<comm>[^)]*)\)(?:, jid \d+)?, uid -?\d+, was killed: "
        r"(?P<reason>out of swap space|failed to reclaim memory|a thread waited too long to "
        r"allocate a page|[^\n]{1,60})",
        words=(", was killed: ",),
    ),
    Form(
        "talos",
        "kill",
        r"Sending SIGKILL to cgroup .*?\"cgroup\": ?\"(?P<cgroup>[^\"]+)\"",
        words=("Sending SIGKILL",),
    ),
    Form(
        "oomd",
        "kill",
        r"oomd kill: (?P<numbers>[\d. ]+) (?P<cgroup>/?\S+) \d+ ruleset:\[",
        words=("oomd kill",),
    ),
    Form(
        "oomd",
        "kill",
        r"(?:Trying to kill|Killed \d+ processes? in) (?P<cgroup>/\S+)",
        words=("Trying to kill", "Killed "),
        tags=("oomd", "oomd_bin"),
    ),
    Form(
        "oomd",
        "kill",
        r"KillPlugin\w*\.\w+:\d+\] Trying to kill (?P<cgroup>/\S+)",
        words=("Trying to kill",),
    ),
    Form(
        "kubelet",
        "eviction",
        r"[Ee]viction manager: pod is evicted successfully\\?\".{0,20}pod=\\?\"" + POD,
        words=("viction manager",),
    ),
    Form(
        "kubelet",
        "eviction",
        r"eviction manager: pods? " + POD + r"\S* (?:is )?evicted",
        words=("viction manager",),
    ),
    Form(
        "kubelet",
        "eviction",
        r"The node was low on compute resources",
        words=("low on compute",),
    ),
    Form(
        "kubelet",
        "eviction",
        r"(?:^(?P<pod>[a-z0-9][a-z0-9.-]*)\s+Evicted\s+)?"
        r"The node was low on resource: (?P<reason>[\w-]+(?:\.[\w-]+)*)"
        r"(?:\. Threshold quantity: (?P<limit>"
        + SIZE
        + r"), available: "
        + SIZE
        + r")?"
        r"(?:.*?[Cc]ontainer (?P<name>[\w.-]+) was using (?P<used>"
        + SIZE
        + r")(?:, (?:which exceeds its request of|request is) (?P<request>"
        + SIZE
        + r"))?)?",
        words=("low on resource",),
    ),
    Form(
        "kubelet",
        "eviction",
        r"(?:^(?P<namespace>[a-z0-9][a-z0-9-]*)\s+|(?:^|\s))(?:[Pp]od/)?"
        r"(?P<pod>[a-z0-9][a-z0-9.-]*)\s+\d+/\d+\s+Evicted\s+\d",
        words=("Evicted",),
    ),
    Form(
        "slurm",
        "kill",
        r"(?:[Jj]ob|[Ss]tep) (?P<job>[\w.+]+) exceeded (?:virtual )?memory limit "
        r"\((?P<used>\d+) > (?P<limit>\d+)\), being killed",
        words=("exceeded",),
    ),
    Form(
        "pbs",
        "kill",
        r"PBS: job killed: (?:v?mem|pmem|pvmem)(?: job total)? (?P<used>\d+ ?(?:kb)?) "
        r"exceeded limit (?P<limit>\d+ ?(?:kb)?)",
        words=("PBS: job killed",),
    ),
    Form(
        "pbs",
        "kill",
        r"(?P<reason>[Jj]ob exceeded a memory resource limit)",
        words=("memory resource limit",),
    ),
    Form(
        "mesos",
        "kill",
        r"Memory limit exceeded: Requested: (?P<limit>" + SIZE + r") Maximum Used: (?P<used>"
        + SIZE + r")",
        words=("Memory limit exceeded",),
    ),
    Form(
        "ray",
        "kill",
        r"Memory on the node \(IP: (?P<node>[\w.:-]+?),.*?was "
        r"(?P<reason>\S+ / \S+ \([\d.]+\), which exceeds the memory usage threshold of [\d.]+\d)"
        r".*?Ray killed this worker \(ID: (?P<job>\w+)(?:\)|$)",
        words=("Ray killed this worker",),
    ),
    Form(
        "ray",
        "kill",
        r"System memory low at node with IP (?P<node>[\w.:-]*\w)\. (?P<reason>Used memory .{1,80}? "
        r"exceeds threshold [\d.]+\d), killing .{1,20}? task with name (?P<job>\S+)",
        words=("System memory low",),
    ),
    Form(
        "ray",
        "kill",
        r"Killing worker with the .{1,60}? to free up memory\b"
        r"(?:.*?Task to be killed: ?(?P<job>\w+))?",
        words=("to free up memory",),
    ),
    Form(
        "ray",
        "kill",
        r"(?P<processes>\d+) Workers? \(tasks / actors\) killed due to (?P<reason>memory pressure)"
        r"(?:.*?\bIP: (?P<node>[\w.:-]+?)\))?",
        words=("killed due to memory",),
    ),
    Form(
        "lsf",
        "kill",
        r"(?:^|[:;>,.] ?)TERM_MEMLIMIT: "
        r"(?P<reason>job killed after reaching LSF memory usage limit)?",
        words=("TERM_MEMLIMIT",),
    ),
    Form(
        "htcondor",
        "notice",
        r"[Jj]ob has (?:gone over|exceeded)(?: cgroup)? memory limit of (?P<limit>\d+ megabytes)"
        r"(?:.*?[Pp]eak usage: (?P<used>\d+ megabytes))?",
        words=("memory limit",),
    ),
    Form(
        "yarn",
        "kill",
        r"[Cc]ontainer \[pid=(?P<pid>\d+),containerID=(?P<container>[\w-]+)\] is running (?:\S+ )?"
        r"beyond (?:the '\w+' )?(?:physical|virtual|PHYSICAL|VIRTUAL) memory limits?.*?usage: "
        r"(?P<used>" + SIZE + r") of (?P<limit>" + SIZE + r")",
        words=("running beyond", "is running"),
    ),
    Form(
        "yarn",
        "kill",
        r"(?:[Ee]xecutor (?P<job>\d+)\b.*?)?[Cc]ontainer killed by YARN for exceeding "
        r"(?:physical |virtual )?memory limits\. (?P<used>"
        + SIZE
        + r") of (?P<limit>"
        + SIZE
        + r") ",
        words=("killed by YARN",),
    ),
    Form(
        "heroku",
        "kill",
        r"(?:heroku\[(?P<name>[\w.-]+)\]: )?Error R15 \((?P<reason>Memory quota vastly exceeded)\)",
        words=("Error R15",),
    ),
)  # fmt: skip
