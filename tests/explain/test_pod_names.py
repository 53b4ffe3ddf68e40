"""Names of pods and containers that the log itself brings together with ids of the report."""

import gzip
import json
import re
from pathlib import Path

import pytest

from oomkit.explain import pod_names
from oomkit.explain.files import read_file
from tests.conftest import Command

LOGS = Path(__file__).parents[1] / "data/oom-logs"
UID = "6b1f0c5e-3a70-4d0e-9f5b-1c2d3e4f5a6b"
ID = "3f2a9c41b7d0e5f6a8b9c0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5"
PATH = (
    "/kubepods.slice/kubepods-burstable.slice/"
    f"kubepods-burstable-pod{UID.replace('-', '_')}.slice/cri-containerd-{ID}.scope"
)
KERNEL = f"""\
Nov 29 10:00:01 node1 kernel: python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=871
Nov 29 10:00:01 node1 kernel: CPU: 1 PID: 4466 Comm: python3 Not tainted 6.1.0-18-amd64 #1
Nov 29 10:00:01 node1 kernel: memory: usage 1048576kB, limit 1048576kB, failcnt 912
Nov 29 10:00:01 node1 kernel: [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name
Nov 29 10:00:01 node1 kernel: [   4466]  1000  4466   545865   263168  2359296        0           871 python3
Nov 29 10:00:01 node1 kernel: oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,\
oom_memcg={PATH},task_memcg={PATH},task=python3,pid=4466,uid=1000
Nov 29 10:00:01 node1 kernel: Memory cgroup out of memory: Killed process 4466 (python3) total-vm:2183460kB, \
anon-rss:1047552kB, file-rss:5120kB, shmem-rss:0kB, UID:1000 pgtables:2304kB oom_score_adj:871
"""  # noqa: E501 - lines of a log
TASK_OOM = (
    'Nov 29 10:00:01 node1 containerd[812]: time="2026-11-29T10:00:01.52Z" level=info '
    f'msg="TaskOOM event container_id:\\"{ID}\\""\n'
)

# As the kubelet (1.30), containerd (1.7) and CRI-O (1.30) write them.
PLEG = (
    "Nov 29 09:00:02 node1 kubelet[901]: I1129 09:00:02.620134     901 kubelet.go:2453] "
    '"SyncLoop (PLEG): event for pod" pod="shop/web-6d9f" '
    f'event={{"ID":"{UID}","Type":"ContainerStarted","Data":"{ID}"}}\n'
)
VOLUME = (
    "Nov 29 09:00:00 node1 kubelet[901]: I1129 09:00:00.1     901 reconciler.go:1] "
    f'"operationExecutor.MountVolume started" pod="shop/web-6d9f" podUID="{UID}"\n'
)
BACK_OFF = (
    "Nov 29 10:00:03 node1 kubelet[901]: I1129 10:00:03.1     901 scope.go:117] "
    f'"RemoveContainer" containerID="{ID}" pod="shop/web-6d9f" containerName="nginx"\n'
)
OLD = (
    "Nov 29 09:00:00 node1 kubelet[901]: I1129 09:00:00.1     901 kubelet.go:1] SyncLoop (ADD): "
    f'"web-6d9f_shop({UID})"\n'
)
SANDBOX = (
    'Nov 29 09:00:00 node1 containerd[812]: time="2026-11-29T09:00:00Z" level=info '
    'msg="RunPodSandbox '
    f'for &PodSandboxMetadata{{Name:web-6d9f,Uid:{UID},Namespace:shop,Attempt:0,}}"\n'
)
CREATED = (
    'Nov 29 09:00:01 node1 containerd[812]: time="2026-11-29T09:00:01Z" level=info '
    'msg="CreateContainer within sandbox \\"' + "b" * 64 + '\\" for '
    f'&ContainerMetadata{{Name:nginx,Attempt:0,}} returns container id \\"{ID}\\""\n'
)
CRIO = (
    'Nov 29 09:00:01 node1 crio[812]: time="2026-11-29 09:00:01Z" level=info '
    'msg="Created container '
    f'{ID}: shop/web-6d9f/nginx" id=1\n'
)
POD, WHOLE = f"pod shop/web-6d9f, container {ID[:12]}", "pod shop/web-6d9f, container nginx"


def owner(tmp_path: Path, text: str) -> str | None:
    log = tmp_path / "log"
    log.write_text(text)
    (report,) = read_file(str(log)).reports
    return report.owner


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (PLEG, POD), (VOLUME, POD), (OLD, POD), (SANDBOX, POD), (SANDBOX + CREATED, WHOLE),
        (CRIO, WHOLE), (PLEG + BACK_OFF, WHOLE), (BACK_OFF, WHOLE), (CREATED, None), ("", None),
        (PLEG.replace(UID, "0" + UID[1:]).replace(ID, "0" + ID[1:]), None),
    ],
)  # fmt: skip
def test_lines_of_the_kubelet_and_of_runtimes_name_a_reports_pod(
    tmp_path: Path, lines: str, name: str | None
) -> None:
    assert owner(tmp_path, lines + KERNEL) == name
    assert owner(tmp_path, KERNEL + lines) == name


def test_packed_logs_are_looked_through_as_well(tmp_path: Path) -> None:
    log = tmp_path / "log.gz"
    log.write_bytes(gzip.compress((PLEG + KERNEL).encode()))
    assert read_file(str(log)).reports[0].owner == POD


def test_lines_on_the_border_of_two_blocks_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in (37, 64, 1000):
        monkeypatch.setattr(pod_names, "BLOCK_BYTES", block)
        assert owner(tmp_path, f"{PLEG}{KERNEL}{BACK_OFF}") == WHOLE


def test_logs_without_such_reports_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(pod_names, "look", never)
    assert owner(tmp_path, KERNEL.replace(PATH, "/user.slice")) is None


def test_kubelet_runtime_and_kernel_are_one_incident_with_the_pods_name(
    oomkit: Command, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    said = (
        "Nov 29 10:00:02 node1 kubelet[901]: I1129 10:00:02.7     901 event.go:307] "
        '"Event occurred" object="node1" kind="Node" type="Warning" reason="SystemOOM" '
        'message="System OOM encountered, victim process: python3, pid: 4466"\n'
    )
    evicted = (
        "Nov 29 10:05:01 node1 kubelet[901]: I1129 10:05:01.9     901 eviction_manager.go:596] "
        '"Eviction manager: pod is evicted successfully" pod="shop/cache-0"\n'
    )
    log.write_text(PLEG + KERNEL + TASK_OOM + said + BACK_OFF + evicted)
    text = " ".join(oomkit("explain", str(log)).stdout.split())
    assert text.startswith("2 incidents, 1 OOM report, 1 process killed by the kernel")
    assert "the memory cgroup of pod shop/web-6d9f, container nginx ran out of memory" in text
    assert "containerd: time=" in text
    assert "System OOM encountered" in text
    assert "kubelet evicted pod shop/cache-0, as the node ran low" in text
    assert "kubectl get pods" not in text
    assert "crictl" not in text
    redacted = oomkit("explain", "--redact", str(log)).stdout
    assert "web-6d9f" not in redacted


@pytest.mark.parametrize(
    ("group", "tool"),
    [
        ("/docker/{}", "docker"),
        ("/machine.slice/libpod-{}.scope/container", "podman"),
        ("/system.slice/nerdctl-{}.scope", "nerdctl"),
    ],
)
def test_a_container_is_looked_up_by_the_tool_that_made_it(
    oomkit: Command, group: str, tool: str
) -> None:
    text = (LOGS / "m-3.x-docker-adj-998.log").read_text()
    found = re.search(r"/docker/([0-9a-f]{64})", text)
    assert found is not None
    made = text.replace(found[0], group.format(found[1]))
    said = json.loads(oomkit("explain", "--json", "-", stdin=made).stdout)
    texts = [one["text"] for one in said["advice"] if one["kind"] == "container_name"]
    assert texts == [f"the container's name: {tool} ps -a --filter id={found[1][:12]}"]
    assert f"by {tool} update --memory" in next(
        one["text"] for one in said["changes"] if one["kind"] == "limit"
    )
