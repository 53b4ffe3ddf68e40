"""What a printed object says of a container that was killed: ``kubectl get -o yaml`` or ``json``,
``docker inspect``, ``crictl inspect``.

Of such a text each line holds a field, and what belongs to it stands before and after it, deeper
or less deep. So the fields are put into a tree by their indentation, which YAML and printed JSON
have in common, and each field that tells of a death is given what the tree says it is about.
"""

import json
from collections.abc import Iterator
from typing import Any

from oomkit.klog.evidence import Evidence
from oomkit.klog.lines import expressions as re
from oomkit.klog.lines.line import Line
from oomkit.klog.userspace.form import size_kb
from oomkit.records import replace

_FIELD = re.compile(
    r"(?P<indent>[ \t]*)(?P<items>(?:- )*)"
    r"(?:[\"']?(?P<key>[A-Za-z_][\w./-]{0,80})[\"']?\s?:(?:\s+(?P<value>.*))?|(?P<open>[{\[]))$"
)
_CLOSES = re.compile(r"[\s}\],]*$")
_OOM = frozenset({"OOMKilled", "OOM Killed"})
_STATUS = "ExitCode"
_NAME = "io.kubernetes.container.name"
_POD = "io.kubernetes.pod.name"
_NAMESPACE = "io.kubernetes.pod.namespace"
MAX_LINES = 20_000
_MAX_DIGITS = 5


class _Node:
    """A field: its key, its value as text, the fields in it."""

    __slots__ = ("children", "indent", "is_item", "key", "line", "parent", "value")

    def __init__(
        self, parent: "_Node | None", key: str, value: str, line: int, indent: int, *, is_item: bool
    ) -> None:
        self.parent = parent
        self.key = key
        self.value = value
        self.line = line
        self.indent = indent
        self.is_item = is_item
        self.children: list[_Node] = []
        if parent is not None:
            parent.children.append(self)

    def child(self, *path: str) -> "_Node | None":
        """The field below some keys; None if there is none."""
        node: _Node | None = self
        for key in path:
            found = node.children if node is not None else []
            node = next((child for child in found if child.key == key), None)
        return node

    def text(self, *path: str) -> str | None:
        """The value below some keys; None if there is none."""
        found = self.child(*path)
        return found.value or None if found is not None else None

    def above(self) -> Iterator["_Node"]:
        """The fields that this one is in, the nearest first."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent


def abouts(text: str) -> dict[int, dict[str, Any]]:
    """What lines that tell of a killed container are about, by their numbers.

    Args:
        text: a text that may hold printed objects.
    """
    found: dict[int, dict[str, Any]] = {}
    lines = text.split("\n", MAX_LINES)[:MAX_LINES]
    for node in list(_tellers(lines)):
        if node.key == _STATUS and node.parent and node.parent.text("OOMKilled") == "true":
            continue
        about = _of_pod(node) if node.key.lower() == "reason" else _of_inspected(node)
        if about:
            found[node.line] = {name: value for name, value in about.items() if value is not None}
    return found


def in_one_line(raw: str, number: int) -> list[Line]:
    """One line for each container that an object printed in one line tells a death of."""
    try:
        decoded = json.loads(raw)
    except (ValueError, RecursionError):
        return []
    if not isinstance(decoded, dict) or not decoded.keys() & _OBJECTS:
        return []
    printed = json.dumps(decoded, indent=2, ensure_ascii=False)
    return [
        Line(number=number, text='"reason": "OOMKilled"', about={**about, "is_object": True})
        for about in abouts(printed).values()
    ]


_OBJECTS = frozenset({"kind", "items", "status"})


def _tellers(lines: list[str]) -> Iterator[_Node]:
    """The fields that tell of a death, each in the tree of its object."""
    root = top = _Node(None, "", "", 0, -1, is_item=False)
    for number, raw in enumerate(lines, start=1):
        line = raw.rstrip()
        field = _FIELD.match(line)
        if field is None:
            if line and not line[0].isspace() and not _CLOSES.match(line):
                root = top = _Node(None, "", "", 0, -1, is_item=False)
            continue
        top = _put(top, field, number) or root
        tells = top.key.lower() == "oomkilled" and top.value == "true"
        # Of a container that an engine describes the name may stand behind its state.
        tells = tells or (top.key == _STATUS and top.value == "137")
        if tells or (top.key.lower() == "reason" and top.value in _OOM):
            yield top


def _put(top: _Node, field: re.Match[str], number: int) -> _Node | None:
    """Put a field where its indentation says; None if the tree has no such place."""
    indent = len(field["indent"])
    items = field["items"].count("-") + (field["open"] is not None and not field["key"])
    for _ in range(items):
        place = _place(top, indent, is_item=True)
        if place is None:
            return None
        top = _Node(place, "", "", number, indent, is_item=True)
        indent += 2
    if field["key"] is None:
        return top
    place = _place(top, indent, is_item=False)
    if place is None:
        return None
    value = (field["value"] or "").rstrip(",").strip("\"'{[ ")
    return _Node(place, field["key"], value, number, indent, is_item=False)


def _place(top: _Node, indent: int, *, is_item: bool) -> _Node | None:
    """The field that one of an indentation is in. A list may stand no deeper than its key."""
    node: _Node | None = top
    while node is not None and node.indent >= indent:
        if is_item and node.indent == indent and not node.is_item:
            break
        node = node.parent
    return node


def _of_pod(reason: _Node) -> dict[str, Any] | None:
    """What a terminated state, or a container's status, says."""
    state = reason.parent
    if state is None:
        return None
    labels = state.child("labels")
    if labels is not None or state.child("metadata", "name") is not None:
        return {
            "container": state.text("metadata", "name") or _label(labels, _NAME),
            "pod": _label(labels, _POD),
            "namespace": _label(labels, _NAMESPACE),
            "id": state.text("id"),
            "exit_code": state.text("exitCode"),
        }
    if state.key != "terminated" or state.parent is None or state.parent.parent is None:
        return None
    container = state.parent.parent
    about: dict[str, Any] = {
        "container": container.text("name"),
        "id": _id(state.text("containerID") or container.text("containerID")),
        "exit_code": state.text("exitCode"),
    }
    pod = next((node for node in reason.above() if node.child("metadata", "name")), None)
    if pod is not None:
        about["pod"] = pod.text("metadata", "name")
        about["namespace"] = pod.text("metadata", "namespace")
        about["node"] = pod.text("spec", "nodeName")
        about["limit"] = _limit(pod, about["container"])
    return about


def with_object(found: Evidence, about: dict[str, Any]) -> Evidence:
    """A line of evidence with what the object around it says of the container that was killed."""
    code = about.get("exit_code", "")
    return replace(
        found,
        pod=about.get("pod"),
        namespace=about.get("namespace"),
        node=about.get("node"),
        container=about.get("id"),
        container_name=about.get("container"),
        exit_code=int(code) if code.isdecimal() and len(code) < _MAX_DIGITS else None,
        limit_kb=about.get("limit"),
    )


def _limit(pod: _Node, name: str | None) -> int | None:
    containers = pod.child("spec", "containers")
    for item in containers.children if containers is not None else ():
        if item.text("name") == name:
            return size_kb(item.text("resources", "limits", "memory") or "")
    return None


def _of_inspected(told: _Node) -> dict[str, Any] | None:
    """What ``docker inspect`` prints around a container's state."""
    state = told.parent
    container = state.parent if state is not None and state.key == "State" else None
    if state is None or container is None:
        return None
    memory = container.text("HostConfig", "Memory") or "0"
    return {
        "container": (container.text("Name") or "").lstrip("/") or None,
        "id": container.text("Id"),
        "exit_code": state.text("ExitCode"),
        "limit": size_kb(memory) or None,
    }


def _label(labels: _Node | None, key: str) -> str | None:
    return labels.text(key) if labels is not None else None


def _id(text: str | None) -> str | None:
    return text.rpartition("/")[2] if text else None
