"""Lines of want of memory that killed nobody: requests that failed, and mere pressure."""

from oomkit.klog.userspace.form import SIZE, Form

_HEAP = "reached a limit of its own, which the kernel has no part in"

NO_KILL_FORMS = (
    Form(
        "kernel",
        "failure",
        r"^(?:#{1,6} |\[[^\]]{1,20}\] )?(?:(?P<comm>.{1,40}?): )?page allocation failure[:.] ?"
        r"(?:order:(?P<order>\d+))?",
        words=("allocation failure",),
        means="a request for pages failed, and its caller was told so",
    ),
    Form(
        "kernel",
        "pressure",
        r"^(?:\[[^\]]{1,20}\] )?(?P<comm>.{1,40}?): page allocation stalls",
        words=("allocation stalls",),
        means="a request for pages had to wait long",
    ),
    Form(
        "kernel",
        "failure",
        r"__alloc_pages: (?P<order>\d+)-order allocation failed",
        words=("-order allocation failed",),
        means="a request for pages failed, and its caller was told so",
    ),
    Form(
        "kernel",
        "failure",
        r"VM_FAULT_OOM leaking out to the #PF handler",
        words=("VM_FAULT_OOM",),
        means="a page fault found no memory, and the task tries again",
    ),
    Form(
        "kernel",
        "failure",
        r"SLU[BG]: [Uu]nable to allocate memory|vm(?:alloc|ap)\b.{0,40}(?:allocation.{0,30}failed"
        r"|allocation failure|out of vmalloc)",
        words=("allocate memory", "vmalloc", "vmap "),
        means="the kernel could not get memory for itself",
    ),
    Form(
        "kernel",
        "failure",
        r"__vm_enough_memory: pid:? (?P<pid>\d+)(?:, comm: (?P<comm>[^,]+))?",
        words=("__vm_enough_memory",),
        means="overcommit limits refused a request (CommitLimit)",
    ),
    Form(
        "java",
        "failure",
        r"java\.lang\.OutOfMemoryError(?:: (?P<reason>[^\n]{1,200}))?",
        words=("java.lang.OutOfMemoryError",),
        means="a Java program threw OutOfMemoryError: it " + _HEAP,
    ),
    Form(
        "java",
        "failure",
        r"(?P<reason>insufficient memory for the Java Runtime Environment)"
        r"|^#\s+Out of Memory Error \(\w+\.[ch]pp:\d+\), pid=(?P<pid>\d+)"
        r"|os::commit_memory\([^)]*\) failed; error=",
        words=("insufficient memory for the Java", "Out of Memory Error (", "os::commit_memory"),
        means="the JVM was refused memory and ended itself",
    ),
    Form(
        "node",
        "failure",
        r"(?P<reason>JavaScript heap out of memory)"
        r"|FATAL ERROR: .*?Allocation failed - process out of memory"
        r"|Fatal JavaScript out of memory: (?P<spaced>[A-Za-z].{1,80})",
        words=("JavaScript heap out of memory", "process out of memory", "JavaScript out of"),
        means="Node.js ended itself: its heap " + _HEAP,
    ),
    Form(
        "node",
        "failure",
        r"Fatal process out of memory: (?P<spaced>[A-Za-z].{1,80})",
        words=("process out of memory",),
        means="a program of V8's (Node.js) was refused memory and ended itself",
    ),
    Form(
        "php",
        "failure",
        r"Allowed memory size of (?P<limit>\d+ bytes|\d+) (?:bytes )?exhausted",
        words=("Allowed memory size",),
        means="a PHP script reached its memory_limit",
    ),
    Form(
        "postgres",
        "failure",
        r"^(?:\S.{0,80}?\s)?(?:ERROR|FATAL): +out of memory$",
        words=("out of memory",),
        means="PostgreSQL was refused memory, and ended the query",
    ),
    Form(
        "mysqld",
        "failure",
        r"Out of memory \(Needed (?P<request>\d+ bytes)\)|Out of memory; check if mysqld",
        words=("Out of memory (Needed", "Out of memory; check if"),
        means="MySQL was refused memory",
    ),
    Form(
        "redis",
        "failure",
        r"OOM command not allowed when used memory > '?maxmemory",
        words=("OOM command not allowed",),
        means="Redis refused a command: it reached its maxmemory",
    ),
    Form(
        "python",
        "failure",
        r"(?:^|[\w.]\.)MemoryError(?:: (?P<reason>[^\n]{1,200})|$)",
        words=("MemoryError",),
        means="a Python program was refused memory",
    ),
    Form(
        "dotnet",
        "failure",
        r"System\.OutOfMemoryException",
        words=("System.OutOfMemoryException",),
        means="a .NET program was refused memory",
    ),
    Form(
        "ruby",
        "failure",
        r"failed to allocate memory \(NoMemoryError\)",
        words=("NoMemoryError",),
        means="a Ruby program was refused memory",
    ),
    Form(
        "erlang",
        "failure",
        r"\b(?P<reason>\w+_alloc: Cannot (?:re)?allocate \d+ bytes of memory)",
        words=("allocate ",),
        means="the Erlang VM was refused memory and ended itself",
    ),
    Form(
        "anybody",
        "failure",
        r"(?P<reason>CUDA(?: error:)? out of memory|CUDA_ERROR_OUT_OF_MEMORY"
        r"|OOM when allocating tensor(?=.*\bGPU)|Allocator \(GPU_\w+\) ran out of memory)",
        words=("CUDA", "OOM when allocating", "Allocator (GPU_"),
        means="a GPU's own memory ran out",
    ),
    Form(
        "anybody",
        "failure",
        r"(?P<reason>[Cc]annot allocate memory|ENOMEM\b|std::bad_alloc"
        r"|fatal error: runtime: (?:out of memory|cannot allocate memory)"
        r"|\bmemory allocation of \d+ bytes failed)",
        words=(
            "memory allocation of",
            "annot allocate memory",
            "ENOMEM",
            "std::bad_alloc",
            "fatal error: runtime",
        ),
        means="a program asked for memory and was refused",
    ),
    Form(
        "anybody",
        "pressure",
        r"[Uu]nder (?P<reason>memory pressure), flushing caches|(?:Node|node)?HasInsufficientMemory"
        r"|NodeHasMemoryPressure|^\W*MemoryPressure\W+True|status is now: \w*MemoryPressure"
        r"|\bType:MemoryPressure Status:True",
        words=("memory pressure", "InsufficientMemory", "MemoryPressure"),
        means="memory was under pressure",
    ),
    Form(
        "kubelet",
        "pressure",
        r"(?:EvictionThresholdMet|[Ee]viction manager: (?:must evict|attempting to reclaim)"
        r"|[Aa]ttempting to reclaim (?P<reason>memory))",
        words=("EvictionThresholdMet", "viction manager", "ttempting to reclaim"),
        means="the node came below its eviction threshold",
    ),
    Form(
        "kubelet",
        "pressure",
        r"[Nn]ode (?:had condition|has conditions): \[(?:\w+ )*(?P<reason>MemoryPressure)\b",
        words=("had condition", "has conditions"),
        means="the kubelet admitted no pod to its node",
    ),
    Form(
        "kubelet",
        "pressure",
        r"[Nn]ode didn't have enough (?:resource: |capacity: )?(?P<reason>memory), requested: "
        r"\d+, used: \d+, capacity: \d+",
        words=("have enough ",),
        means="the kubelet admitted no pod to its node",
    ),
    Form(
        "heroku",
        "pressure",
        r"Error R14 \((?P<reason>Memory quota exceeded)\)",
        words=("Error R14",),
        means="the dyno used more than its quota (R14)",
    ),
    Form(
        "earlyoom",
        "pressure",
        r"[Ll]ow [Mm]emory! [Aa]t or below (?P<reason>[Ss][Ii][Gg]\w+ limits.*)"
        r"|^Out of memory! (?P<old>(?:avail|mem min): .*)|^Low memory! mem avail: .* <= min \d.*",
        words=(
            "Low memory! mem avail",
            "ow memory! at or below",
            "ow Memory! At or below",
            "Out of memory! ",
        ),
        means="memory came below its limits",
    ),
    Form(
        "systemd-oomd",
        "failure",
        r"Failed to (?:kill|select) any cgroups?(?: under \S+)? based on (?P<reason>swap|pressure)",
        words=("any cgroup",),
        means="systemd-oomd wanted to kill for lack of memory, and could not",
    ),
    Form(
        "earlyoom",
        "failure",
        r"[Cc]ould not find a process to kill",
        words=("find a process to kill",),
        means="earlyoom wanted to kill for lack of memory, and found no process",
    ),
    Form(
        "nohang",
        "pressure",
        r"^Memory status that requires corrective actions",
        words=("requires corrective",),
        means="memory came below nohang's limits",
    ),
    Form(
        "nohang",
        "failure",
        r"^[Vv]ictim badness (?P<reason>\d+ < min_badness \d+)",
        words=("ictim badness",),
        means="nohang wanted to kill for lack of memory, and found no process that it may",
    ),
    Form(
        "lambda",
        "pressure",
        r"Memory Size: (?P<limit>" + SIZE + r")\s+Max Memory Used: (?P<used>" + SIZE + r")",
        words=("Max Memory Used",),
        means="the function used all of its memory",
    ),
)
