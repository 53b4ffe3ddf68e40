"""Names that people know cgroups and processes by."""

import pytest

from oomkit.kernel.cgroup_name import (
    MemcgPathError,
    Place,
    TaskNameError,
    find_memcg_path,
    find_task,
    find_tasks,
    full_container_id,
    label,
    label_in,
    name_in,
    place,
    qos_of,
    row_name,
    short_name,
)
from oomkit.kernel.names import MAX_CHARS, Names, cut, names_in_path, unescaped
from oomkit.kernel.state import Memcg, Memory, Snapshot, Sysctl, Task

ID = "0123456789abcdef" * 4
UID = "9a1b2c3d-0000-4000-8000-00000000000a"
SYSTEMD_POD = (
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
    f"{UID.replace('-', '_')}.slice/cri-containerd-{ID}.scope"
)
PLAIN_POD = f"/kubepods/besteffort/pod{UID}/{ID}"


@pytest.mark.parametrize(("path", "unit", "pod", "container"), [
    (None, None, None, None), ("", None, None, None), ("/", None, None, None),
    ("/system.slice/ssh.service", "ssh.service", None, None),
    ("/system.slice", "system.slice", None, None),
    ("/user.slice/user-5.slice", "user-5.slice", None, None),
    ("/system.slice/a.service/b.slice", "a.service", None, None),  # not back to a slice
    ("/system.slice/a.service/b.scope", "b.scope", None, None),
    ("/system.slice/a.service/sub", "a.service", None, None),
    ("/system.slice/xservice", "system.slice", None, None),
    (SYSTEMD_POD, "kubepods-burstable.slice", UID, ID[:12]),
    (PLAIN_POD, None, UID, ID[:12]),
    (f"/docker/{ID}", None, None, ID[:12]),
    (f"/system.slice/docker-{ID}.scope", "system.slice", None, ID[:12]),
    (f"/x/crio-{ID}.scope", None, None, ID[:12]),
    (f"/x/unknown-{ID}.scope", f"unknown-{ID}.scope", None, None),
    (f"/docker/{ID[:-1]}", None, None, None),
    ("/x/pod-7", None, "7", None), ("/x/container-12", None, None, "container-12"),
    (f"/kubepods-pod{UID.replace('-', '_')}.slice:cri-containerd:{ID}", None, UID, ID[:12]),
])  # fmt: skip
def test_a_path_names_a_unit_a_pod_a_container(
    path: str | None, unit: str | None, pod: str | None, container: str | None
) -> None:
    assert place(path) == Place(unit=unit, pod=pod, container=container)


def test_the_whole_id_is_that_of_the_innermost_container() -> None:
    other = "f" * 64
    assert full_container_id(SYSTEMD_POD) == ID
    assert full_container_id(f"/docker/{other}/docker/{ID}/init.scope") == ID
    assert full_container_id("/system.slice") is None


@pytest.mark.parametrize(("path", "qos"), [
    (SYSTEMD_POD, "burstable"), (PLAIN_POD, "besteffort"),
    ("/kubepods/burstable/podX", "burstable"),
    (f"/kubepods/pod{UID}", "guaranteed"), ("/kubepods.slice/kubepods-podX.slice", "guaranteed"),
    ("/kubepods.slice/kubepods-besteffort.slice/x", "besteffort"), ("/xburstable", "guaranteed"),
])  # fmt: skip
def test_the_class_of_a_pod_is_in_its_path(path: str, qos: str) -> None:
    assert qos_of(path) == qos


@pytest.mark.parametrize(("path", "short", "in_sentence"), [
    (PLAIN_POD, f"pod {UID[:8]}, container {ID[:12]}", f"pod {UID[:8]}, container {ID[:12]}"),
    (f"/kubepods/pod{UID}", f"pod {UID[:8]}", f"pod {UID[:8]}"),
    (f"/docker/{ID}", f"container {ID[:12]}", f"container {ID[:12]}"),
    ("/lxc.payload.web", "lxc web", "/lxc.payload.web"),
    ("/lxc.payload.web/init.scope", "init.scope", "/lxc.payload.web/init.scope"),
    ("/system.slice/ssh.service", "ssh.service", "/system.slice/ssh.service"),
    ("/system.slice/a.service/sub/x", "a.service/sub/x", "/system.slice/a.service/sub/x"),
    ("/system.slice", "/system.slice", "/system.slice"),
    ("/plain/path", "/plain/path", "/plain/path"),
])  # fmt: skip
def test_a_table_shows_a_short_name_and_a_sentence_a_path_where_that_is_short(
    path: str, short: str, in_sentence: str
) -> None:
    assert short_name(path) == short
    assert label(path) == in_sentence


def machine(
    *paths: str, names: dict[str, Names] | None = None, tasks: tuple[Task, ...] = ()
) -> Snapshot:
    return Snapshot(
        kernel="6.12", memory=Memory(total_ram_pages=1000), sysctl=Sysctl(), tasks=tasks,
        memcgs=tuple(Memcg(path=path) for path in paths), names=names or {},
    )  # fmt: skip


def test_names_of_the_snapshot_come_first() -> None:
    named = {
        PLAIN_POD: Names(namespace="shop", pod="web"),
        f"/docker/{ID}": Names(container="nginx"),
        "/lxc.payload.web": Names(),
    }
    snapshot = machine(*named, "/a", names=named)
    both = f"pod shop/web, container {ID[:12]}"
    assert name_in(snapshot, PLAIN_POD) == label_in(snapshot, PLAIN_POD) == both
    assert name_in(snapshot, f"/docker/{ID}") == "container nginx"
    assert name_in(snapshot, "/lxc.payload.web") == "lxc web"
    assert label_in(snapshot, "/lxc.payload.web") == "/lxc.payload.web"
    assert name_in(snapshot, "/system.slice/a.service") == "a.service"
    assert label_in(snapshot, "/system.slice/a.service") == "/system.slice/a.service"


def test_groups_inside_of_a_container_have_its_name_and_their_path() -> None:
    """In a table they stand beside it."""
    top = f"/docker/{ID}"
    snapshot = machine(top, f"{top}/init.scope", names={"/n": Names(container="web")})
    assert row_name(snapshot, top) == f"container {ID[:12]}"
    assert row_name(snapshot, f"{top}/init.scope") == f"container {ID[:12]}/init.scope"
    assert row_name(snapshot, f"{top}/a/b") == f"container {ID[:12]}/a/b"
    assert row_name(snapshot, "/n") == "container web"
    assert row_name(snapshot, "/n/sub") == "/n/sub"
    assert row_name(snapshot, "/system.slice/a.service") == "a.service"
    assert row_name(snapshot, "/") == "/"


def test_a_last_name_comes_before_one_above_it() -> None:
    """``web`` is in three paths; one alone is called so."""
    paths = ("/web.slice/one", "/x/web-1.service", "/y/web.slice/two")
    assert find_memcg_path(machine(*paths), "web-") == "/x/web-1.service"
    assert find_memcg_path(machine(*paths), "web") == "/x/web-1.service"
    assert find_memcg_path(machine("/web.slice/one", "/other"), "web") == "/web.slice/one"


@pytest.mark.parametrize(("given", "near"), [
    # By the last component, with its kind of unit or without.
    ("ngnix", "/a/nginx.service"), ("/a/ngnix.service", "/a/nginx.service"),
    ("postgrse", "/b/c/postgres"), ("pod_9b", "/d/pod-9a"),
])  # fmt: skip
def test_a_near_one_is_named(given: str, near: str) -> None:
    snapshot = machine("/", "/a/nginx.service", "/b/c/postgres", "/d/pod-9a")
    with pytest.raises(MemcgPathError) as caught:
        find_memcg_path(snapshot, given)
    assert str(caught.value) == f"no memory cgroup {given!r} in this snapshot; near: {near}"


def test_five_near_ones_at_most_and_each_once() -> None:
    snapshot = machine(*(f"/s/worker{n}.service" for n in range(7)))
    with pytest.raises(MemcgPathError) as caught:
        find_memcg_path(snapshot, "workerx.service")
    near = str(caught.value).partition("; near: ")[2].split(", ")
    assert len(near) == len(set(near)) == 5


@pytest.mark.parametrize(("given", "found"), [
    ("/app", "/app"), ("app", "/app"), ("/app/", "/app"), ("/", "/"), ("", "/"),
    ("/sys/fs/cgroup/app", "/app"), ("/sys/fs/cgroup/memory/app", "/app"),
    ("/sys/fs/cgroup", "/"), ("/sys/fs/cgroup/unified/app", "/app"),
    ("worker", "/other/worker"), ("work", "/other/worker"), ("her/wor", "/other/worker"),
    ("pod_1", "/x/pod-1"), ("of-a-task", "/of-a-task"),
    ("web", "/n"), ("shop/web", "/n"), ("nginx", "/n"),
])  # fmt: skip
def test_a_cgroup_is_found_by_what_people_type(given: str, found: str) -> None:
    snapshot = machine(
        "/", "/app", "/app/child", "/other/worker", "/x/pod-1", "/n", "/n/below",
        names={path: Names(namespace="shop", pod="web", container="nginx")
               for path in ("/n", "/n/below", "/gone")},
        tasks=(Task(pid=1, comm="x", cgroup="/of-a-task"),),
    )  # fmt: skip
    assert find_memcg_path(snapshot, given) == found


def test_what_is_not_clear_is_said_with_what_it_may_mean() -> None:
    web = {f"/p{n}/svc": Names(pod="web") for n in (1, 2)}
    snapshot = machine("/", *(f"/p{n}/svc" for n in range(7)), "/q/near.service", names=web)
    for given, text in (
        ("svc", ("'svc' may mean /p0/svc, /p1/svc, /p2/svc, /p3/svc, /p4/svc and 2 more; "
                 "give more of the path")),
        ("web", "'web' may mean /p1/svc, /p2/svc; give more of the name"),
        ("nearr", "no memory cgroup 'nearr' in this snapshot; near: /q/near.service"),
        ("zzzzzz", "no memory cgroup 'zzzzzz' in this snapshot"),
    ):  # fmt: skip
        with pytest.raises(MemcgPathError) as caught:
            find_memcg_path(snapshot, given)
        assert str(caught.value) == text
    with pytest.raises(MemcgPathError, match="no memory cgroup 'x': this snapshot has none at all"):
        find_memcg_path(machine("/"), "x")
    five = machine(*(f"/p{n}/svc" for n in range(5)))
    with pytest.raises(MemcgPathError, match="/p4/svc; give"):
        find_memcg_path(five, "svc")


@pytest.mark.parametrize(("names", "text"), [
    (Names(), ""), (Names(pod="web"), "pod web"), (Names(namespace="shop"), ""),
    (Names(namespace="shop", pod="web", container="nginx"), "pod shop/web, container nginx"),
    (Names(machine="vm"), "machine vm"), (Names(job="7.0"), "Slurm job 7.0"),
    (Names(app="firefox"), "app firefox"), (Names(app="firefox", machine="vm"), "machine vm"),
])  # fmt: skip
def test_names_as_text(names: Names, text: str) -> None:
    assert names.text() == text


@pytest.mark.parametrize(("names", "words"), [
    (Names(), ()), (Names(pod="web"), ("web",)), (Names(namespace="shop", container="c"), ("c",)),
    (Names(namespace="shop", pod="web"), ("web", "shop/web")),
    (Names(namespace="shop", pod="web", container="c"), ("web", "shop/web", "c", "shop/web/c")),
    (Names(machine="m", job="j", app="a", image="i"), ("m", "j", "a")),
])  # fmt: skip
def test_what_a_person_may_type_for_it(names: Names, words: tuple[str, ...]) -> None:
    assert names.words() == words


@pytest.mark.parametrize(("path", "names"), [
    ("/lxc.payload.web/init.scope", Names(machine="web")), ("/lxc/101/ns", Names(machine="101")),
    ("/qemu.slice/102.scope", Names(machine="102")), ("/xqemu.slice/102.scope", Names()),
    ("/machine.slice/machine-deb.scope", Names(machine="deb")),
    ("/machine.slice/machine-qemu\\x2d1\\x2dweb\\x2da.scope", Names(machine="web-a")),
    ("/machine.slice/systemd-nspawn@deb.service/payload", Names(machine="deb")),
    ("/slurm/uid_1000/job_77/step_0/task_1", Names(job="77.0")),
    ("/slurm_node/uid_1/job_77", Names(job="77")),
    ("/system.slice/slurmstepd.scope/job_5/step_batch", Names(job="5.batch")),
    ("/system.slice/node1_slurmstepd.scope/job_5", Names(job="5")),
    ("/other/job_5/step_0", Names()), ("/slurm/uid_1000/x", Names()),
    ("/user.slice/app.slice/app-gnome-firefox-123.scope", Names(app="firefox")),
    ("/user.slice/app.slice/app-firefox-123.scope", Names(app="firefox")),
    ("/user.slice/app.slice/app-gnome-org.gnome.Terminal@5.service",
     Names(app="org.gnome.Terminal")),
    ("/user.slice/app.slice/app-code.service", Names(app="code")),
    ("/x/snap.firefox.firefox-01234567-89ab-cdef-0123-456789abcdef.scope",
     Names(app="firefox.firefox")),
    ("/plain", Names()),
])  # fmt: skip
def test_a_path_that_holds_a_name(path: str, names: Names) -> None:
    assert names_in_path(path) == names


def test_names_of_others_are_cut_and_unescaped() -> None:
    assert cut("x" * 300) == "x" * MAX_CHARS
    assert MAX_CHARS == 253
    assert [cut(""), cut(None), cut(5), cut("a")] == [None, None, None, "a"]
    assert unescaped("a\\x2db") == "a-b"
    assert unescaped("caf\\xc3\\xa9") == "café"
    assert unescaped("\\xff") == "\xff"
    assert unescaped("€\\x2d") == "€-"


# Processes

TASKS = (
    Task(pid=7, comm="mysqld"), Task(pid=8, comm="averylongcomman"), Task(pid=9, comm="web"),
    Task(pid=10, comm="web"), Task(pid=11, comm="12"), Task(pid=12, comm="kworker", has_mm=False),
    *(Task(pid=100 + n, comm="many") for n in range(10)), Task(pid=200, comm=""),
)  # fmt: skip


@pytest.mark.parametrize(("given", "pids"), [
    ("7", [7]), ("12", [12]), ("mysqld", [7]), ("web", [9, 10]), ("averylongcommandname", [8]),
    ("kworker", [12]),
])  # fmt: skip
def test_a_process_is_found_by_number_or_name(given: str, pids: list[int]) -> None:
    assert [task.pid for task in find_tasks(machine(tasks=TASKS), given)] == pids


@pytest.mark.parametrize(("given", "text"), [
    ("mysql", "no process mysql in this snapshot; near: mysqld"),
    ("qld", "no process qld in this snapshot; near: mysqld"),
    ("zzz", "no process zzz in this snapshot"), ("", "no process  in this snapshot"),
    ("999", "no process 999 in this snapshot"),
    ("kworke", "no process kworke in this snapshot"),  # kernel threads are not offered
    ("\u0667", "no process \u0667 in this snapshot"),
])  # fmt: skip
def test_one_that_is_not_there_is_said_with_near_ones(given: str, text: str) -> None:
    with pytest.raises(TaskNameError) as caught:
        find_tasks(machine(tasks=TASKS), given)
    assert str(caught.value) == text


def test_several_of_a_name_are_listed() -> None:
    snapshot = machine(tasks=TASKS)
    assert find_task(snapshot, "mysqld").pid == 7
    with pytest.raises(TaskNameError) as caught:
        find_task(snapshot, "web")
    assert str(caught.value) == "2 processes are named web: 9, 10; give a pid"
    with pytest.raises(TaskNameError) as caught:
        find_task(snapshot, "many")
    assert str(caught.value) == (
        "10 processes are named many: 100, 101, 102, 103, 104, 105, 106, 107 and 2 more; give a pid"
    )
    eight = machine(tasks=TASKS[6:14])
    with pytest.raises(TaskNameError, match="107; give a pid"):
        find_task(machine(tasks=TASKS[6:14]), "many")
    assert len(eight.tasks) == 8
