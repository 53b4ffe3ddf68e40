"""Names of pods, containers and machines, from folders laid out as runtimes lay them out."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.host.names import NameBook, names_of
from oomkit.kernel.cgroup_name import find_memcg_path, name_in, row_name
from oomkit.kernel.names import Names, names_in_path
from oomkit.kernel.state import Memcg, Memory, Snapshot
from oomkit.printable import printable
from tests.host.fake import write

ID = "3f2a9c41b7d0e5f6a8b9c0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5"
UID = "6b1f0c5e-3a70-4d0e-9f5b-1c2d3e4f5a6b"
UNDERSCORED = UID.replace("-", "_")

# How the kubelet and runtimes name cgroups: pkg/kubelet/cm/cgroup_manager_linux.go (drivers
# systemd and cgroupfs), internal/cri/server (containerd), internal/config/cgmgr (CRI-O).
SYSTEMD = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UNDERSCORED}.slice"
CGROUPFS = f"/kubepods/burstable/pod{UID}"


def write_json(path: Path, value: object) -> None:
    write(path, json.dumps(value))


def containerd(root: Path, namespace: str = "k8s.io", kind: str = "container") -> None:
    """The bundle's config.json, as containerd's CRI plugin annotates it.

    Names of the annotations: internal/cri/annotations/annotations.go.
    """
    cri = "io.kubernetes.cri."
    notes = {
        f"{cri}container-type": kind,
        f"{cri}sandbox-id": "b" * 64,
        f"{cri}sandbox-name": "web-6d9f",
        f"{cri}sandbox-namespace": "shop",
        f"{cri}sandbox-uid": UID,
    }
    if kind == "container":
        notes |= {f"{cri}container-name": "nginx", f"{cri}image-name": "docker.io/nginx:1.27"}
    folder = root / "run/containerd/io.containerd.runtime.v2.task" / namespace / ID
    write_json(folder / "config.json", {"ociVersion": "1.1.0", "annotations": notes})


POD = Names(namespace="shop", pod="web-6d9f", container="nginx", image="docker.io/nginx:1.27")


MIXED = f"/system.slice/containerd.service/{SYSTEMD.rpartition('/')[2]}:cri-containerd:{ID}"
"""What a runtime whose driver is cgroupfs makes of a path that was meant for systemd's."""


@pytest.mark.parametrize(
    "path", [f"{SYSTEMD}/cri-containerd-{ID}.scope", f"{CGROUPFS}/{ID}", MIXED]
)
def test_containerd(tmp_path: Path, path: str) -> None:
    containerd(tmp_path)
    assert NameBook(str(tmp_path)).of(path) == POD
    assert POD.text() == "pod shop/web-6d9f, container nginx"


def test_the_sandbox_of_a_pod_is_no_container_of_it(tmp_path: Path) -> None:
    containerd(tmp_path, kind="sandbox")
    found = NameBook(str(tmp_path)).of(f"{CGROUPFS}/{ID}")
    assert (found.pod, found.container, found.image) == ("web-6d9f", "(sandbox)", None)


def test_nerdctl(tmp_path: Path) -> None:
    folder = tmp_path / "run/containerd/io.containerd.runtime.v2.task/default" / ID
    write_json(folder / "config.json", {"annotations": {"nerdctl/name": "db"}})
    found = NameBook(str(tmp_path)).of(f"/system.slice/nerdctl-{ID}.scope")
    assert found == Names(container="db")


def test_crio(tmp_path: Path) -> None:
    """CRI-O: the annotations of pkg/annotations in the storage's userdata."""
    notes = {
        "io.kubernetes.pod.name": "web-6d9f",
        "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.container.name": "nginx",
        "io.kubernetes.cri-o.ImageName": "docker.io/nginx:1.27",
        "io.kubernetes.cri-o.ContainerType": "container",
    }
    folder = tmp_path / f"var/lib/containers/storage/overlay-containers/{ID}/userdata"
    write_json(folder / "config.json", {"annotations": notes})
    assert NameBook(str(tmp_path)).of(f"{SYSTEMD}/crio-{ID}.scope") == POD


@pytest.mark.parametrize("path", [f"/system.slice/docker-{ID}.scope", f"/docker/{ID}"])
def test_docker(tmp_path: Path, path: str) -> None:
    """Docker: config.v2.json, the record of daemon/container/container.go."""
    folder = tmp_path / "var/lib/docker/containers" / ID
    write_json(
        folder / "config.v2.json",
        {"ID": ID, "Name": "/shop-web-1", "Config": {"Image": "nginx:1.27", "Labels": {}}},
    )
    found = NameBook(str(tmp_path)).of(path)
    assert found == Names(container="shop-web-1", image="nginx:1.27")


def podman(folder: Path) -> None:
    """Podman: containers.json of github.com/containers/storage."""
    metadata = json.dumps({"image-name": "docker.io/library/redis:7", "name": "cache"})
    row = {"id": ID, "names": ["cache"], "image": "f" * 64, "metadata": metadata}
    write_json(folder / "overlay-containers/containers.json", [{"id": "0" * 64}, row])


def test_podman_as_root(tmp_path: Path) -> None:
    podman(tmp_path / "var/lib/containers/storage")
    found = NameBook(str(tmp_path)).of(f"/machine.slice/libpod-{ID}.scope/container")
    assert found == Names(container="cache", image="docker.io/library/redis:7")


@pytest.mark.parametrize("driver", ["vfs", "btrfs", "zfs"])
def test_podman_with_another_storage_driver(tmp_path: Path, driver: str) -> None:
    """Each driver has a list of its own (containers/storage, ``DRIVER-containers``)."""
    storage = tmp_path / "var/lib/containers/storage"
    podman(storage)
    (storage / "overlay-containers").rename(storage / f"{driver}-containers")
    found = NameBook(str(tmp_path)).of(f"/machine.slice/libpod-{ID}.scope")
    assert found == Names(container="cache", image="docker.io/library/redis:7")


@pytest.mark.parametrize(
    ("path", "container"),
    [
        ("/default/cart", "cart"),
        ("/default/cart/below", "cart"),
        ("/build.kit/cart", "cart"),
        ("/default/other", None),  # no such task
        ("/elsewhere/cart", None),  # a task, but of another group
        ("/user.slice/default/cart", None),  # where a user may have made it
        ("/default/..", None),
    ],
)
def test_a_task_of_containerd_with_a_name(tmp_path: Path, path: str, container: str | None) -> None:
    """As ``ctr run`` makes them: ``/NAMESPACE/ID``, and so in the bundle's configuration."""
    tasks = tmp_path / "run/containerd/io.containerd.runtime.v2.task"
    for namespace in ("default", "build.kit"):
        group = {"cgroupsPath": f"/{namespace}/cart"}
        write_json(tasks / namespace / "cart/config.json", {"linux": group})
    write_json(tasks / "elsewhere/cart/config.json", {"linux": {"cgroupsPath": "/default/cart"}})
    assert NameBook(str(tmp_path)).of(path) == Names(container=container)


def test_podman_of_a_user(tmp_path: Path) -> None:
    write(tmp_path / "etc/passwd", "ann:x:1000:1000::/home/ann:/bin/sh\n")
    podman(tmp_path / "home/ann/.local/share/containers/storage")
    path = f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"
    assert NameBook(str(tmp_path)).of(path).container == "cache"
    other = path.replace("1000", "1001")
    assert NameBook(str(tmp_path)).of(other) == Names()


def test_the_kubelets_logs_name_what_no_runtime_names(tmp_path: Path) -> None:
    logs = tmp_path / "var/log/containers"
    logs.mkdir(parents=True)
    (logs / f"web-6d9f_shop_nginx-{ID}.log").symlink_to("/nowhere")
    (tmp_path / f"var/log/pods/shop_web-6d9f_{UID}/nginx").mkdir(parents=True)
    book = NameBook(str(tmp_path))
    assert book.of(f"{CGROUPFS}/{ID}") == Names(namespace="shop", pod="web-6d9f", container="nginx")
    assert book.of(SYSTEMD) == Names(namespace="shop", pod="web-6d9f")
    assert book.of(f"{CGROUPFS}/{'0' * 64}") == Names(namespace="shop", pod="web-6d9f")


def test_a_static_pods_uid_has_no_dashes(tmp_path: Path) -> None:
    uid = UID.replace("-", "")
    (tmp_path / f"var/log/pods/kube-system_etcd-node1_{uid}").mkdir(parents=True)
    found = NameBook(str(tmp_path)).of(f"/kubepods/burstable/pod{uid}/{'1' * 64}")
    assert (found.namespace, found.pod) == ("kube-system", "etcd-node1")


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/lxc/web/init.scope", Names(machine="web")),
        ("/lxc.payload.web/system.slice/ssh.service", Names(machine="web")),
        ("/machine.slice/machine-build.scope/payload", Names(machine="build")),
        ("/machine.slice/systemd-nspawn@build.service", Names(machine="build")),
        (r"/machine.slice/machine-qemu\x2d1\x2dmy\x2dvm.scope/libvirt", Names(machine="my-vm")),
        ("/slurm/uid_1000/job_4711/step_0/task_1", Names(job="4711.0")),
        ("/slurm_node7/uid_1000/job_4711/step_batch", Names(job="4711.batch")),
        ("/system.slice/slurmstepd.scope/job_12/step_extern/user/task_0", Names(job="12.extern")),
        ("/system.slice/node7_slurmstepd.scope/job_12", Names(job="12")),
        ("/srv/job_12/step_0", Names()),
        (r"/user.slice/x/app.slice/app-gnome-org.gnome.Terminal-4711.scope",
         Names(app="org.gnome.Terminal")),
        (r"/user.slice/x/app.slice/app-flatpak-org.mozilla.firefox-99.scope",
         Names(app="org.mozilla.firefox")),
        (r"/user.slice/x/app.slice/app-my\x2dapp-1.scope", Names(app="my-app")),
        (r"/user.slice/x/app.slice/app-gnome-chat@autostart.service", Names(app="chat")),
        ("/user.slice/x/app.slice/snap.firefox.firefox-0dbe3ab9-5ce1-4b3c-9d3b-0a1b2c3d4e5f.scope",
         Names(app="firefox.firefox")),
        ("/system.slice/cron.service", Names()),
        ("/", Names()),
    ],
)  # fmt: skip
def test_names_that_the_path_itself_holds(path: str, names: Names) -> None:
    assert names_in_path(path) == names


def test_proxmox(tmp_path: Path) -> None:
    snapshots = "\n[before]\nhostname: old\n"
    write(tmp_path / "etc/pve/lxc/101.conf", f"arch: amd64\nhostname: mail\n{snapshots}")
    write(tmp_path / "etc/pve/qemu-server/102.conf", "cores: 2\nname: win\n")
    book = NameBook(str(tmp_path))
    assert book.of("/lxc/101/ns/system.slice").machine == "101 (mail)"
    assert book.of("/qemu.slice/102.scope").machine == "102 (win)"
    assert book.of("/lxc/103").machine == "103"


def test_machined(tmp_path: Path) -> None:
    """``/run/systemd/machines/NAME``: machine_save() of src/machine/machine.c."""
    write(tmp_path / "run/systemd/machines/build", "NAME=build\nSCOPE=builder.service\n")
    found = NameBook(str(tmp_path)).of("/system.slice/builder.service/payload")
    assert found == Names(machine="build")


DAMAGED = [b"", b"[]", b"{", b'{"annotations": 7}', b'{"annotations": {"nerdctl/name": 7}}',
           b"[" * 100_000, b"\xff\xfe", b'{"Config": [], "Name": 5}', b"null"]  # fmt: skip


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_state_leaves_the_id(tmp_path: Path, data: bytes) -> None:
    for name in (
        f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json",
        f"var/lib/docker/containers/{ID}/config.v2.json",
        f"var/lib/containers/storage/overlay-containers/{ID}/userdata/config.json",
        "var/lib/containers/storage/overlay-containers/containers.json",
    ):
        write(tmp_path / name, data)
    assert NameBook(str(tmp_path)).of(f"{CGROUPFS}/{ID}") == Names()


def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / f"var/lib/docker/containers/{ID}/config.v2.json"
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/zero")
    assert NameBook(str(tmp_path)).of(f"/docker/{ID}") == Names()


def snapshot(path: str, names: Names) -> Snapshot:
    memcgs = (Memcg(path="/"), Memcg(path=path), Memcg(path=f"{path}/below"))
    known = {path: names, f"{path}/below": names}
    memory = Memory(total_ram_pages=10**6)
    return Snapshot(kernel="6.12.1", memory=memory, memcgs=memcgs, names=known)


@pytest.mark.parametrize("word", ["web-6d9f", "shop/web-6d9f", "nginx", "shop/web-6d9f/nginx"])
def test_a_group_is_found_by_its_names(word: str) -> None:
    path = f"{CGROUPFS}/{ID}"
    assert find_memcg_path(snapshot(path, POD), word) == path


def test_an_unknown_container_of_a_known_pod_keeps_its_id() -> None:
    path = f"{CGROUPFS}/{ID}"
    pod = Names(namespace="shop", pod="web-6d9f")
    assert name_in(snapshot(path, pod), path) == "pod shop/web-6d9f, container 3f2a9c41b7d0"
    assert name_in(snapshot(path, Names()), path) == "pod 6b1f0c5e, container 3f2a9c41b7d0"


def test_groups_inside_of_a_container_are_told_apart() -> None:
    path = f"/machine.slice/libpod-{ID}.scope"
    made = snapshot(path, Names(container="web"))
    assert row_name(made, path) == "container web"
    assert row_name(made, f"{path}/below") == "container web/below"
    unknown = snapshot(path, Names())
    assert row_name(unknown, f"{path}/below") == "container 3f2a9c41b7d0/below"
    assert row_name(unknown, "/system.slice/a.service/b") == "a.service/b"
    assert row_name(unknown, "/") == "/"


@given(st.text(max_size=300), st.text(max_size=60))
def test_no_escape_reaches_the_terminal(name: str, part: str) -> None:
    path = f"/lxc.payload.{part}"
    names = Names(namespace=name, pod=name, container=name, machine=names_in_path(path).machine)
    assert printable(name_in(snapshot(path, names), path)).isprintable()
    assert printable(names_in_path(f"/machine.slice/machine-{part}.scope").text()).isprintable()


@given(st.text(max_size=80), st.dictionaries(st.text(max_size=20), st.text(max_size=20)))
def test_whatever_a_path_says_it_is_looked_up_below_the_root(
    path: str, more: dict[str, str]
) -> None:
    """No part of a path leads out of the folders: ids are hexadecimal, users numbers."""
    assert isinstance(names_of([path, *more], NameBook("/nonexistent")), dict)
