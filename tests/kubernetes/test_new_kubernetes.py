"""``oomkit new --from-kubernetes``: manifests become a scenario, end to end."""

import os
import subprocess
import textwrap
from pathlib import Path

import pytest

from oomkit.kubernetes import documents, policy
from oomkit.kubernetes.rules import Kubelet, Threshold
from oomkit.policy.read import read_policy
from oomkit.scenario.format import Cgroup, Scenario, Step, Task
from oomkit.scenario.read import read_scenario
from tests.forked import command

MIB, GIB = 2**20, 2**30

KINDS = "Pod, Deployment, ReplicaSet, ReplicationController, StatefulSet, DaemonSet, Job, CronJob"

SHOP = """\
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: web, namespace: shop}
  spec:
    replicas: 2
    template:
      spec:
        initContainers:
        - name: migrate
          resources: {requests: {memory: 128Mi}, limits: {memory: 256Mi}}
        - name: proxy
          restartPolicy: Always
          resources: {limits: {memory: 100Mi}}
        containers:
        - name: nginx
          resources: {requests: {memory: 256Mi}, limits: {memory: 1Gi}}
          volumeMounts: [{name: cache, mountPath: /cache}]
        volumes:
        - {name: cache, emptyDir: {medium: Memory, sizeLimit: 200Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: db}
spec:
  priorityClassName: system-cluster-critical
  restartPolicy: Never
  containers:
  - name: pg
    resources: {requests: {memory: 1Gi, cpu: 1}, limits: {memory: 1Gi, cpu: 1}}
"""


def new(tmp_path: Path, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return command("new", *args, stdin=stdin, cwd=tmp_path)


def made(tmp_path: Path, manifest: str, *args: str) -> Scenario:
    (tmp_path / "m.yaml").write_text(textwrap.dedent(manifest))
    done = new(tmp_path, "--from-kubernetes", "m.yaml", "--node-ram", "8G", *args)
    assert done.returncode == 0, done.stderr
    return read_scenario(str(tmp_path / "node.toml"))


def tasks(scenario: Scenario) -> dict[str, Task]:
    return {task.name: task for task in scenario.tasks}


def cgroups(scenario: Scenario) -> dict[str, Cgroup]:
    return {group.name: group for group in scenario.cgroups}


def faults(tmp_path: Path, manifest: str, *args: str) -> list[str]:
    (tmp_path / "m.yaml").write_text(textwrap.dedent(manifest))
    done = new(tmp_path, "--from-kubernetes", "m.yaml", "--node-ram", "8G", *args)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()


def test_pods_get_cgroups_limits_and_adjustments(tmp_path: Path) -> None:
    scenario = made(tmp_path, SHOP, "--reserved", "512M")
    groups = cgroups(scenario)
    capacity = 8 * GIB - (41344 * 1024 + 8 * GIB // 64)
    assert groups["kubepods"].max_bytes == capacity - 512 * MIB
    web = groups["kubepods/burstable/podshop_web-1"]
    assert (web.max_bytes, web.request_bytes) == (GIB + 100 * MIB, 356 * MIB)
    nginx = groups["kubepods/burstable/podshop_web-1/nginx"]
    assert (nginx.max_bytes, nginx.oom_group) == (GIB, True)
    assert groups["kubepods/poddefault_db"].priority == 2 * 10**9
    found = tasks(scenario)
    assert found["db:pg"].oom_score_adj == -997
    assert found["web-0:nginx"].oom_score_adj == 1000 - 1000 * 256 * MIB // capacity
    assert found["web-0:proxy"].oom_score_adj == found["web-0:nginx"].oom_score_adj
    assert found["kubelet"].oom_score_adj == -999
    assert (found["web-0:nginx"].restart_s, found["db:pg"].restart_s) == (10.0, None)


def test_containers_fill_their_request_then_grow_to_their_limit(tmp_path: Path) -> None:
    found = tasks(made(tmp_path, SHOP))
    migrate, nginx = found["web-0:migrate"], found["web-0:nginx"]
    assert migrate.steps[0].size_bytes == 128 * MIB
    assert migrate.steps[-1] == Step(verb="hold", seconds=1.0)
    assert nginx.start_s == 5.0
    sizes = {step.verb: step.size_bytes for step in nginx.steps[2:] if step.size_bytes}
    assert nginx.steps[0].size_bytes == 256 * MIB
    assert sizes["tmpfs"] == 200 * MIB
    assert 256 * MIB + sizes["tmpfs"] + (sizes["touch"] or 0) == int(0.97 * GIB)


def test_usage_as_it_is_given(tmp_path: Path) -> None:
    found = tasks(made(tmp_path, SHOP, "--usage", "request", "--use", "web-1/nginx=3Gi"))
    assert [s.size_bytes for s in found["web-0:nginx"].steps] == [256 * MIB, None]
    assert sum(s.size_bytes or 0 for s in found["web-1:nginx"].steps) == 3 * GIB
    done = new(tmp_path, "x", "--from-kubernetes", "m.yaml", "--node-ram", "8G", "--use", "nope=1G")
    assert (done.returncode, done.stderr) == (
        2, "oomkit: --use nope: expected the name of a container\n"
    )  # fmt: skip


def test_every_kind_of_workload(tmp_path: Path) -> None:
    template = "{spec: {containers: [{name: c, resources: {limits: {memory: 64Mi}}}]}}"
    parts = [
        f"kind: {kind}\nmetadata: {{name: {kind.lower()}}}\nspec: {spec}\n"
        for kind, spec in {
            "StatefulSet": f"{{replicas: 2, template: {template}}}",
            "DaemonSet": f"{{template: {template}}}",
            "ReplicaSet": f"{{template: {template}}}",
            "Job": f"{{parallelism: 3, template: {template}}}",
            "CronJob": f"{{jobTemplate: {{spec: {{template: {template}}}}}}}",
        }.items()
    ]
    names = set(tasks(made(tmp_path, "---\n".join(parts), "--replicas", "2")))
    assert names - {"kubelet", "containerd", "node-system"} == {
        "statefulset-0:c", "statefulset-1:c", "daemonset:c", "replicaset:c", "job-0:c", "job-1:c",
        "cronjob:c",
    }  # fmt: skip


def test_standard_input_and_several_files(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(SHOP)
    other = SHOP.replace("shop", "other").replace("name: db", "name: db2")
    done = new(
        tmp_path, "mine", "--from-kubernetes", "-", "b.yml", "--node-ram", "8Gi", stdin=other
    )
    assert done.returncode == 0, done.stderr
    names = set(tasks(read_scenario(str(tmp_path / "mine.toml"))))
    assert {"web-0:nginx", "web-0:nginx-2", "db:pg", "db2:pg"} <= names


def test_each_fault_is_one_line_and_the_rest_is_read(tmp_path: Path) -> None:
    broken = """\
    kind: Pod
    metadata: {name: typo}
    spec: {containers: [{name: c, resources: {limits: {memory: 1Gb}}}]}
    ---
    kind: Pod
    metadata: {name: more}
    spec: {containers: [{name: c, resources: {limits: {memory: 1Gi}, requests: {memory: 2Gi}}}]}
    ---
    a: [1,
    ---
    kind: Widget
    metadata: {name: w}
    ---
    # nothing here
    ---
    kind: Pod
    metadata: {name: free}
    spec: {containers: [{name: c}]}
    ---
    just text
    ---
    kind: Deployment
    metadata: {name: empty}
    spec: {}
    """
    lines = faults(tmp_path, broken)
    where, most = "spec.containers[0].resources", "expected at most the limit 1Gi"
    assert [line.removeprefix("oomkit: m.yaml: ") for line in lines] == [
        f"document 4 (Widget w): kind: left out, as only {KINDS} and List start pods here",
        "document 5 (Pod free): no memory limit: container c",
        f"document 1 (Pod typo): {where}.limits.memory: expected {documents.MEMORY}, not '1Gb'",
        f"document 2 (Pod more): {where}.requests.memory: {most}, not '2Gi'",
        "document 3: line 10: expected YAML: did not find expected node content",
        "document 6: expected an object with a kind",
        "document 7 (Deployment empty): spec.template: is missing",
    ]
    assert set(tasks(read_scenario(str(tmp_path / "node.toml")))) >= {"free:c"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "m.yaml: expected at least one pod"),
        ("\0", "expected YAML"),
        ("- 1", "expected an object with a kind"),
        ("kind: 3", "kind: expected a kind such as Deployment"),
        ("kind: Pod", "metadata.name: is missing"),
        ("kind: Pod\nmetadata: {name: x}\nspec: {containers: []}", "at least one container"),
        ("kind: Pod\nmetadata: {name: x}\nspec: {containers: 7}", "expected a list of tables"),
        ("kind: List\nitems: &a [{kind: List, items: *a}]", "nested"),
        ("[" * 5000, "expected YAML"),
        ("kind: Pod\nmetadata: {name: \"\\e[31mx\"}\nspec: {}", "metadata.name: expected a text"),
        ("kind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a},{name: a}]}", "'a' again"),
    ],
)  # fmt: skip
def test_bad_input_is_lines_not_tracebacks(tmp_path: Path, text: str, expected: str) -> None:
    lines = faults(tmp_path, text)
    assert any(expected in line for line in lines)
    assert "\x1b" not in "".join(lines)
    assert not (tmp_path / "node.toml").exists()


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "good.yaml").write_text(SHOP)
    done = new(tmp_path, "--from-kubernetes", "no.yaml", "b.yaml", "good.yaml", "--node-ram", "8G")
    assert done.returncode == 2
    assert "oomkit: no.yaml: No such file or directory" in done.stderr.splitlines()
    assert "oomkit: b.yaml: expected UTF-8 text" in done.stderr.splitlines()
    assert os.path.exists(tmp_path / "node.toml")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--from-kubernetes", "m.yaml"], "--node-ram: expected the RAM of the node"),
        (["x", "--node-ram", "8G"], "--node-ram: expected --from-kubernetes beside it"),
        (["--from", "here", "--from-kubernetes", "m.yaml"], "--from and --from-kubernetes don't"),
        (["--from-kubernetes", "m.yaml", "--node-ram", "8G", "--reserved", "9G"], "nothing is"),
        (["--from-kubernetes", "m.yaml", "--node-ram", "lots"], "--node-ram: expected a size"),
        (["--from-kubernetes", "m.yaml", "--node-ram", "8G", "--kubernetes-version", "1.4"],
         "--kubernetes-version: expected a version from 1.22 to 1.37, not '1.4'"),
        (["a", "b"], "b: expected one NAME"),
    ],
)  # fmt: skip
def test_misuse_ends_with_status_2(tmp_path: Path, args: list[str], expected: str) -> None:
    (tmp_path / "m.yaml").write_text(SHOP)
    done = new(tmp_path, *args)
    assert (done.returncode, expected in done.stderr) == (2, True), done.stderr


CONFIG = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard: {memory.available: "5%"}
evictionSoft: {memory.available: 1Gi}
evictionSoftGracePeriod: {memory.available: 1m30s}
evictionMaxPodGracePeriod: 30
systemReserved: {memory: 256Mi}
kubeReserved: {memory: 256Mi}
singleProcessOOMKill: true
featureGates: {MemoryQoS: true}
memorySwap: {swapBehavior: LimitedSwap}
"""


def test_a_kubelets_configuration(tmp_path: Path) -> None:
    (tmp_path / "k.yaml").write_text(CONFIG)
    scenario = made(tmp_path, SHOP, "--kubelet-config", "k.yaml", "--node-swap", "4G")
    groups = cgroups(scenario)
    capacity = 8 * GIB - (41344 * 1024 + 8 * GIB // 64)
    assert groups["kubepods"].max_bytes == capacity - 512 * MIB
    nginx = groups["kubepods/burstable/podshop_web-0/nginx"]
    assert not nginx.oom_group
    assert nginx.min_bytes == 256 * MIB
    assert nginx.high_bytes == int((256 + 768 * 0.9) * MIB) // 4096 * 4096
    assert nginx.swap_max_bytes == int(256 * MIB / capacity * 4 * GIB)
    assert groups["kubepods/burstable"].min_bytes == 2 * 356 * MIB
    rules = read_policy(str(tmp_path / "node-kubelet.toml")).when
    assert [(r.level, r.conditions[0].threshold, r.for_s, r.cgroup) for r in rules] == [
        ("soft", 1024 * 1024, 90.0, None), ("hard", 0.05, 0.0, None),
        ("hard", 0.05, 0.0, "/kubepods"),
    ]  # fmt: skip


def test_a_configuration_with_faults_names_them_all(tmp_path: Path) -> None:
    (tmp_path / "k.yaml").write_text(
        "kind: KubeletConfiguration\nevictionHard: {memory.available: 1Gb}\n"
        "evictionSoft: {memory.available: 1Gi}\nmaxPods: none\n"
    )
    lines = faults(tmp_path, SHOP, "--kubelet-config", "k.yaml")
    assert sorted(line.split(": ")[3] for line in lines) == [
        "evictionHard.memory.available", "evictionSoftGracePeriod.memory.available", "maxPods",
    ]  # fmt: skip


def test_the_usual_thresholds_are_the_built_in_policy(tmp_path: Path) -> None:
    made(tmp_path, SHOP)
    assert not (tmp_path / "node-kubelet.toml").exists()
    assert not policy.differs(Kubelet())
    assert policy.differs(Kubelet(hard=Threshold(share=0.1)))


def test_version_1_has_no_groups_that_die_together(tmp_path: Path) -> None:
    nginx = cgroups(made(tmp_path, SHOP, "--cgroup-version", "1", "--node-swap", "1G"))[
        "kubepods/burstable/podshop_web-0/nginx"
    ]
    assert (nginx.version, nginx.oom_group, nginx.memsw_bytes) == (1, False, GIB)


def test_limit_ranges_and_priority_classes_count(tmp_path: Path) -> None:
    text = """\
    kind: LimitRange
    metadata: {name: r}
    spec: {limits: [{type: Container, default: {memory: 512Mi}, defaultRequest: {memory: 100Mi}}]}
    ---
    kind: PriorityClass
    metadata: {name: high}
    value: 1000
    ---
    kind: Pod
    metadata: {name: p}
    spec: {priorityClassName: high, containers: [{name: c}]}
    """
    groups = cgroups(made(tmp_path, text))
    assert groups["kubepods/burstable/poddefault_p/c"].max_bytes == 512 * MIB
    one = groups["kubepods/burstable/poddefault_p"]
    assert (one.request_bytes, one.priority) == (100 * MIB, 1000)
