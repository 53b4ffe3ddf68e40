"""What memory is lost to, and what can't be seen: tmpfs, zram, watermarks, the kubelet's threshold
below them, PSI, old cgroups.
"""

from collections.abc import Iterator

from oomkit.host.configuration import Zram
from oomkit.kernel.watermarks import default_min_free_kbytes
from oomkit.posture.doctor.finding import (
    Case,
    File,
    Finding,
    command,
    drop_in,
    human,
    kernel_parameter,
    sysctl_file,
)
from oomkit.render.quantities import percent

_TMPFS_SHARE = 0.5
"""Of RAM: what the kernel gives a tmpfs that names no size."""
_ZRAM_SHARE = 0.5
_ZRAM_RATIO = 1 / 3
"""What compression is taken to leave while nothing is swapped."""
_NEW_TMPFS = 0.25
_HIGH_MIN_FREE = 0.05
_KUBELET_FILES = "/etc/kubernetes/kubelet.conf.d"
_OTHER_SIGNALS = """\
  nodefs.available: "10%"
  nodefs.inodesFree: "5%"
  imagefs.available: "15%"
  imagefs.inodesFree: "5%"
"""
"""The kubelet's defaults, which are gone once one of them is given."""


def findings(case: Case) -> Iterator[Finding]:
    """What takes memory away, or hides that it is going."""
    yield from _min_free(case)
    yield from _eviction(case)
    yield from _no_psi(case)
    yield from _no_controller(case)
    yield from _old_cgroups(case)
    yield from _tmpfs(case)
    yield from _zram(case)


def _min_free(case: Case) -> Iterator[Finding]:
    memory, now = case.snapshot.memory, case.snapshot.sysctl.min_free_kbytes
    ram_kb = case.ram_bytes // 1024
    if not now or not ram_kb:
        return
    usual = default_min_free_kbytes(memory.total_ram_pages, case.rules, thp=False)
    most = default_min_free_kbytes(memory.total_ram_pages, case.rules, thp=True)
    low, high = now < usual // 2, now > max(most * 2, ram_kb * _HIGH_MIN_FREE)
    if not low and not high:
        return
    after = case.after(f"vm.min_free_kbytes={usual}")
    if low:
        text = "the kernel's reserve is smaller than its own default"
        reason = (
            "atomic allocations (network, interrupts) and reclaim itself live on the pages below "
            "the min watermark; without them packets are dropped and reclaim waits for itself"
        )
    else:
        text = f"{percent(now / ram_kb)} of RAM is kept from every process"
        reason = (
            "user allocations stop at the min watermark: out_of_memory() is called while that much "
            "is still free"
        )
    yield Finding(
        severity="warning",
        code="min_free_kbytes",
        text=text,
        evidence=(
            f"vm.min_free_kbytes is {now}, {usual} would be the default for this RAM",
            f"the zones' min watermarks are {case.size(memory.min_wmark_pages)}",
        ),
        reason=reason,
        change=f"set it to {usual}",
        files=sysctl_file("vm.min_free_kbytes", usual),
        commands=case.commands(f"vm.min_free_kbytes={usual}"),
        alters=f"min watermarks: {case.size(after.memory.min_wmark_pages)}; now "
        f"{case.size(memory.min_wmark_pages)}; {case.left(after)}",
        checked_by="rules",
    )


def _eviction(case: Case) -> Iterator[Finding]:
    found, memory = case.configuration, case.snapshot.memory
    if found is None or found.eviction_bytes is None or not memory.high_wmark_pages:
        return
    mark = memory.high_wmark_pages * case.snapshot.page_size
    if found.eviction_bytes > mark:
        return
    wanted = -(-(mark + case.ram_bytes // 20) // (1 << 20))
    flag = found.eviction_from.startswith("-")
    directory = found.eviction_directory or _KUBELET_FILES
    text = (
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
        f'evictionHard:\n  memory.available: "{wanted}Mi"\n'
        + (_OTHER_SIGNALS if found.eviction_from == "its default" else "")
    )
    yield Finding(
        severity="warning",
        code="eviction_too_late",
        text="the kernel kills before the kubelet evicts",
        evidence=(
            f"memory.available is {human(found.eviction_bytes)} ({found.eviction_from})",
            f"the zones' high watermarks are {human(mark)} (/proc/zoneinfo)",
        ),
        reason=(
            "below the watermarks allocations reclaim, stall and call out_of_memory(); the kubelet "
            "looks every 10 s and never sees its threshold first"
        ),
        change=f"evict below {human(wanted << 20)}"
        + (f": --eviction-hard=memory.available<{wanted}Mi, which no file overrides" if flag
           else ""),
        files=() if flag else (File(path=f"{directory.rstrip('/')}/99-oomkit.conf", text=text),),
        commands=command(
            "once the option is another" if flag else "at once" if found.eviction_directory
            else f"with --config-dir={directory}, from 1.28 on",
            "systemctl", "restart", "kubelet",
        ),
        alters=f"pods are evicted with {human((wanted << 20) - mark)} left above the watermarks; "
        "now with nothing",
        checked_by="figures",
    )  # fmt: skip


def _no_psi(case: Case) -> Iterator[Finding]:
    if case.configuration is None or case.snapshot.pressure is not None or not case.rules.psi:
        return
    words = case.configuration.command_line.split()
    off = [word for word in words if word.startswith("psi=")]
    yield Finding(
        severity="info",
        code="psi_off",
        text="no pressure is measured, so a stall can't be seen coming",
        evidence=(
            "/proc/pressure/memory is not there",
            f"the kernel's command line says {off[-1]}" if off else "nothing on the kernel's "
            "command line switches it on",
        ),
        reason="psi_memstall_enter() does nothing unless CONFIG_PSI is built in and psi is enabled",
        change="boot with psi=1",
        files=kernel_parameter("psi=1"),
        commands=command("from the next boot on", "update-grub"),
        alters="policies that ask for pressure act on it; now they fall back to sizes",
        checked_by="reason",
    )  # fmt: skip


def _no_controller(case: Case) -> Iterator[Finding]:
    if case.configuration is None or not case.configuration.memory_disabled:
        return
    words = case.configuration.command_line.split()
    off = [word for word in words if word.startswith("cgroup_disable=") and "memory" in word]
    yield Finding(
        severity="warning",
        code="memory_controller_off",
        text="the kernel runs without memory cgroups, so no limit of a unit or container holds",
        evidence=(
            "/proc/cgroups: memory is not enabled",
            f"the kernel's command line says {off[-1]}" if off else "nothing on the kernel's "
            "command line says so: its build does",
        ),
        reason=(
            "mem_cgroup_disabled() is true, so nothing is charged: what a limit would have "
            "contained ends in out_of_memory() of the machine"
        ),
        change=f"boot without {off[-1]}" if off else "boot with cgroup_enable=memory",
        files=() if off else kernel_parameter("cgroup_enable=memory"),
        commands=command("from the next boot on, once the word is out of /etc/default/grub" if off
                         else "from the next boot on", "update-grub"),
        alters=f"MemoryMax= and the limits of containers hold; now the next OOM: {case.fate()}",
        checked_by="reason",
    )  # fmt: skip


def _old_cgroups(case: Case) -> Iterator[Finding]:
    found = case.configuration
    if found is None or found.controller not in ("v1", "hybrid"):
        return
    groups = [m for m in case.snapshot.memcgs if m.version == 1]
    disabled = [m.path for m in groups if m.oom_kill_disable]
    yield Finding(
        severity="warning" if disabled else "info",
        code="cgroup_v1",
        text="memory cgroups are of version 1"
        + (", beside a version 2 without the memory controller" if found.controller == "hybrid"
           else ""),
        evidence=(
            "/proc/self/mounts: the memory controller is mounted as cgroup"
            + (", and cgroup2 beside it" if found.controller == "hybrid" else ""),
            *(f"{path}: oom_kill_disable is set, so its tasks hang at the limit" for path in
              disabled[:5]),
        ),
        reason=(
            "version 1 has no memory.oom.group, no memory.high and no pressure by cgroup: a limit "
            "kills one process of a service and leaves the rest broken"
        ),
        change="boot with version 2 alone",
        files=kernel_parameter("systemd.unified_cgroup_hierarchy=1"),
        commands=command("from the next boot on", "update-grub"),
        alters="OOMPolicy=kill ends a service whole (memory.oom.group), and systemd-oomd and "
        f"pressure rules by cgroup work; {len(groups)} cgroups are read by version 1 now",
        checked_by="reason",
    )  # fmt: skip


def _tmpfs(case: Case) -> Iterator[Finding]:
    """Those that may take more of RAM than the kernel gives by itself."""
    for mount in case.configuration.tmpfs if case.configuration else ():
        ram = case.ram_bytes
        if not ram or (mount.size_bytes is not None and mount.size_bytes <= ram * 0.51):
            continue
        new = int(ram * _NEW_TMPFS)
        limit = "no limit" if mount.size_bytes is None else f"a limit of {human(mount.size_bytes)}"
        worst = ram if mount.size_bytes is None else min(mount.size_bytes, ram)
        remount = ("mount", "-o", f"remount,size={new}", mount.path)
        files: tuple[File, ...] = ()
        if mount.path == "/tmp":
            files = drop_in(
                "tmp.mount", "Mount", [f"Options=mode=1777,strictatime,nosuid,nodev,size={new}"],
                "size",
            )  # fmt: skip
        yield Finding(
            severity="warning" if mount.size_bytes is None or mount.size_bytes >= ram else "info",
            code="tmpfs_unbounded",
            text=f"the tmpfs on {mount.path} may take {percent(worst / ram)} of RAM",
            evidence=(f"statvfs: {limit}, {human(mount.used_bytes)} used; MemTotal {human(ram)}",),
            reason=(
                "its pages are in no process's rss: oom_badness() does not see them, and a kill "
                "does not free them; without swap they stay until the files are removed"
            ),
            change=f"limit it to {human(new)}",
            files=files,
            commands=command(
                "at once, until reboot; with size= in /etc/fstab or its mount unit for good",
                *remount,
            ),
            alters=f"filled, it leaves {human(ram - new)} for processes; now {human(ram - worst)}",
            checked_by="figures",
        )


def _zram(case: Case) -> Iterator[Finding]:
    """Swap in memory that, filled, would take more of it than is left to what is swapped in."""
    devices = case.configuration.zram if case.configuration else ()
    takes = sum(_filled(device) for device in devices)
    if takes <= case.ram_bytes * _ZRAM_SHARE:
        return
    sizes = sum(device.size_bytes for device in devices)
    share = case.ram_bytes // 2 / sizes
    new = {device.name: int(device.size_bytes * share) for device in devices}
    swap = case.snapshot.memory.total_swap_pages * case.snapshot.page_size
    after = case.after(f"machine.swap={(max(swap - sizes, 0) + sum(new.values())) // 1024}K")
    filled = sum(_ratio(device) * new[device.name] for device in devices)
    one = len(devices) == 1
    yield Finding(
        severity="warning",
        code="zram_too_large",
        text=f"{', '.join(new)}, filled, {'takes' if one else 'take'} {human(takes)} of "
        f"{human(case.ram_bytes)} of RAM",
        evidence=tuple(line for device in devices for line in _zram_evidence(device)),
        reason=(
            "swap counts as free until the device is full, so out_of_memory() waits while the "
            "device's own pages, which nothing reclaims, squeeze out the cache: a stall first"
        ),
        change="make it half of RAM" if one else "make them half of RAM together",
        files=(
            File(
                path="/etc/systemd/zram-generator.conf",
                text="\n".join(
                    f"[{device}]\nzram-size = {'ram / 2' if one else size >> 20}\n"
                    for device, size in new.items()
                ),
            ),
        ),
        commands=command(
            "from the next start of the device on",
            *("systemctl", "restart"),
            *(f"systemd-zram-setup@{device}.service" for device in new),
        ),
        alters=f"filled, {'it takes' if one else 'they take'} {human(filled)}; {case.left(after)}",
        checked_by="rules",
    )


def _ratio(device: Zram) -> float:
    """What compression leaves of what is swapped to it, as far as there is anything."""
    seen = device.original_bytes > device.size_bytes // 100
    return device.used_bytes / device.original_bytes if seen else _ZRAM_RATIO


def _filled(device: Zram) -> float:
    """The memory it takes once it is full."""
    takes = device.size_bytes * _ratio(device)
    return min(takes, device.limit_bytes) if device.limit_bytes else takes


def _zram_evidence(device: Zram) -> tuple[str, str]:
    seen = device.original_bytes > device.size_bytes // 100
    so_far = f"compressed to {percent(_ratio(device))} so far"
    measured = so_far if seen else "nothing in it to judge by"
    limit = f"is {human(device.limit_bytes)}" if device.limit_bytes else "is not set"
    return (
        f"/sys/block/{device.name}/disksize is {human(device.size_bytes)}, {measured}",
        f"its mem_limit {limit}",
    )
