"""What memory is lost to, and what can't be seen: tmpfs, zram, watermarks, PSI, old cgroups."""

from collections.abc import Iterator

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


def findings(case: Case) -> Iterator[Finding]:
    """What takes memory away, or hides that it is going."""
    yield from _min_free(case)
    yield from _no_psi(case)
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
    for device in case.configuration.zram if case.configuration else ():
        seen = device.original_bytes > device.size_bytes // 100
        ratio = device.used_bytes / device.original_bytes if seen else _ZRAM_RATIO
        takes = device.size_bytes * ratio
        if device.limit_bytes:
            takes = min(takes, device.limit_bytes)
        if takes <= case.ram_bytes * _ZRAM_SHARE:
            continue
        new = case.ram_bytes // 2
        swap = case.snapshot.memory.total_swap_pages * case.snapshot.page_size
        after = case.after(f"machine.swap={(max(swap - device.size_bytes, 0) + new) // 1024}K")
        measured = f"compressed to {percent(ratio)} so far" if seen else "nothing in it to judge by"
        yield Finding(
            severity="warning",
            code="zram_too_large",
            text=f"{device.name}, filled, takes {human(takes)} of {human(case.ram_bytes)} of RAM",
            evidence=(
                f"/sys/block/{device.name}/disksize is {human(device.size_bytes)}, {measured}",
                "mem_limit is not set" if not device.limit_bytes else "mem_limit is "
                f"{human(device.limit_bytes)}",
            ),
            reason=(
                "swap counts as free until the device is full, so out_of_memory() waits while the "
                "device's own pages, which nothing reclaims, squeeze out the cache: a stall first"
            ),
            change="make it half of RAM",
            files=(
                File(path="/etc/systemd/zram-generator.conf",
                     text=f"[{device.name}]\nzram-size = ram / 2\n"),
            ),
            commands=command("from the next start of the device on", "systemctl", "restart",
                             f"systemd-zram-setup@{device.name}.service"),
            alters=f"filled, it takes {human(new * ratio)}; {case.left(after)}",
            checked_by="rules",
        )  # fmt: skip
