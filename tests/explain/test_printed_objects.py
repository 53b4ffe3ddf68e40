"""What printed objects, counters and metrics say of a container that was killed.

The texts were collected for this project from public reports, or have the form that the programs'
documentation shows; names are changed.
"""

import json

import pytest

from tests.explain.test_platforms_texts import answers

NOT_HERE = "; the kernel's own report is not here"
KERNEL = "kubelet says that the kernel killed "
POD = {
    "kind": "Pod",
    "metadata": {"name": "batch-6x8kq", "namespace": "jobs"},
    "spec": {
        "containers": [
            {"name": "side", "resources": {"limits": {"memory": "64Mi"}}},
            {"name": "worker", "resources": {"limits": {"memory": "512Mi"}}},
        ],
        "nodeName": "node-3",
    },
    "status": {
        "containerStatuses": [
            {"lastState": {"terminated": {"exitCode": 0, "reason": "Completed"}}, "name": "side"},
            {
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                "name": "worker",
            },
        ]
    },
}
OF_POD = (
    f"{KERNEL}container worker of pod jobs/batch-6x8kq (OOMKilled), limit 512 MiB, exit status 137"
    + NOT_HERE
)
YAML = """\
apiVersion: v1
kind: Pod
metadata:
  name: batch-6x8kq
  namespace: jobs
spec:
  containers:
  - image: example/side:1
    name: side
    resources:
      limits:
        memory: 64Mi
  - image: example/worker:1
    name: worker
    resources:
      limits:
        memory: 512Mi
  nodeName: node-3
status:
  containerStatuses:
  - containerID: containerd://aa11bb22cc33
    lastState:
      terminated:
        exitCode: 0
        reason: Completed
    name: side
  - containerID: containerd://99ffee22cc33
    lastState:
      terminated:
        exitCode: 137
        finishedAt: "2024-05-01T10:01:02Z"
        reason: OOMKilled
    name: worker
  phase: Running
"""


@pytest.mark.parametrize(
    "text",
    [
        YAML,
        json.dumps(POD, indent=4) + "\n",
        json.dumps(POD, indent=2) + "\n",
        json.dumps(POD) + "\n",
        "$ kubectl get pods -o json\n" + json.dumps({"items": [POD], "kind": "List"}, indent=4),
        json.dumps({"items": [POD], "kind": "List"}),
    ],
)
def test_the_container_of_a_pods_object_is_found(text: str) -> None:
    """Its name stands before or after the reason, less deep; of others nothing is said."""
    assert answers(text) == [OF_POD]


def test_each_container_of_several_pods_is_its_own() -> None:
    other = json.loads(json.dumps(POD).replace("batch-6x8kq", "batch-2"))
    for indent in (None, 4):
        text = json.dumps({"items": [POD, other], "kind": "List"}, indent=indent)
        assert answers(text) == [OF_POD, OF_POD.replace("batch-6x8kq", "batch-2")]


TEXTS = {
    "crictl-inspect": (
        """\
{
  "status": {
    "id": "1f2e3d4c5b6a",
    "metadata": {
      "attempt": 3,
      "name": "web"
    },
    "state": "CONTAINER_EXITED",
    "exitCode": 137,
    "reason": "OOMKilled",
    "labels": {
      "io.kubernetes.container.name": "web",
      "io.kubernetes.pod.name": "shop-1",
      "io.kubernetes.pod.namespace": "prod"
    }
  }
}
""",
        [f"{KERNEL}container web of pod prod/shop-1 (OOMKilled), exit status 137{NOT_HERE}"],
    ),
    "docker-inspect": (
        """\
[
    {
        "Id": "b1946ac92492d2347c6235b4d2611184",
        "State": {
            "OOMKilled": true,
            "ExitCode": 137
        },
        "Name": "/web-1",
        "HostConfig": {
            "Memory": 536870912
        }
    }
]
""",
        [
            "docker says that the kernel killed container web-1, limit 512 MiB, exit status 137"
            + NOT_HERE
        ],
    ),
    "docker-inspect-not-killed": (
        ('[\n    {\n        "Id": "43a240399e21",\n        "State": {\n'
        '            "OOMKilled": false,\n            "ExitCode": 0\n        }\n    }\n]\n'),
        [],
    ),
    "go-template": (
        ("LastState: map[terminated:map[containerID:docker://0e4095bba1feccdfe7ef9f exitCode:137 "
        "reason:OOM Killed startedAt:2015-07-07T20:58:43Z]]\n"),
        [f"{KERNEL}container 0e4095bba1feccdfe7ef9f (OOM Killed){NOT_HERE}"],
    ),
    "go-template-of-a-command": ("$ podman inspect --format '{{.State.OOMKilled}}' web\n", []),
    "metric": (
        ('kube_pod_container_status_last_terminated_reason{container="api",namespace="a",pod="b-1",'
        'reason="OOMKilled",uid="x"} 1\n'),
        ["kube-state-metrics says that the kernel killed container api of pod a/b-1 (OOMKilled)"
         + NOT_HERE],
    ),
    "metric-of-nothing": (
        ('kube_pod_container_status_last_terminated_reason{container="api",namespace="a",pod="b-1",'
        'reason="OOMKilled",uid="x"} 0\n'),
        [],
    ),
    "memory-events": (
        "low 0\nhigh 0\nmax 812\noom 3\noom_kill 3\noom_group_kill 0\n",
        [f"the kernel's counter oom_kill says that it killed 3 times{NOT_HERE}"],
    ),
    "memory-events-of-nothing": ("low 0\nmax 812\noom 3\noom_kill 0\n", []),
    "azure": (
        "Container 'app-x' was terminated with exit code '137' and reason 'OOMKilled'\n",
        [f"Azure Container Apps says that the kernel killed container app-x (OOMKilled){NOT_HERE}"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_what_a_printed_text_says(name: str) -> None:
    text, said = TEXTS[name]
    assert answers(text) == said
