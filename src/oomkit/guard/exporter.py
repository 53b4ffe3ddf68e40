"""Prometheus metrics of a running guard, served by a process of its own.

The daemon writes a small status file; this reads it at each scrape. So the daemon neither
grows by a web server nor is woken by a scrape.
"""

import argparse
import contextlib
import errno
import os
import socket
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from oomkit.errors import OomkitError
from oomkit.files.safely import NotSafeError, open_parent, open_regular
from oomkit.guard import config
from oomkit.guard.scrape import App, Server
from oomkit.host.procfs import read_or_none, stat_fields
from oomkit.policy.engine.conditions import NAMES

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_TRIES = 5
_PARENT_EVERY_S = 5.0
_KB = 1024
_SOCKET_MODE = 0o660
_MAX_BYTES = 1 << 20
_WAITING = 64
_ADJ = 500
"""It can be spared sooner than what people work with."""
_UTIME, _STIME, _RSS = 11, 12, 21
"""Fields of ``/proc/PID/stat``, counted from the one behind the name."""


class ExporterError(OomkitError):
    """Metrics can't be served; the text says why."""


def read_status(path: str) -> dict[str, Any] | None:
    """Return what the daemon's status file says; None if there is none, or it is never whole."""
    for _ in range(_TRIES):
        try:
            with open(open_regular(path), "rb") as file:
                status = msgspec.json.decode(file.read(_MAX_BYTES), type=dict[str, Any])
        except OSError:
            return None
        except (msgspec.DecodeError, ValueError, RecursionError):
            continue
        if status.get("n") == status.get("end"):
            return status
    return None


class Collector:
    """Makes metrics of the status file, again for each scrape."""

    def __init__(self, path: str, proc: str = "/proc") -> None:
        """Remember where to look.

        Args:
            path: the status file.
            proc: where the daemon's own process is looked up.
        """
        self._path = path
        self._proc = proc

    def collect(self) -> "Iterator[Metric]":
        """Yield the metrics; of a guard that does not run, only that it does not."""
        from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

        status = read_status(self._path)
        runs = status is not None and os.path.exists(f"{self._proc}/{status.get('pid')}")
        yield GaugeMetricFamily("oomkit_guard_up", "Whether the guard runs.", value=int(runs))
        if status is None or not runs:
            return
        info = {
            "policy": str(status.get("policy", "")),
            "dry_run": str(bool(status.get("dry_run"))).lower(),
        }
        yield InfoMetricFamily("oomkit_guard", "The policy in force.", value=info)
        yield _level(status)
        yield _faults(status)
        yield from _own(f"{self._proc}/{status.get('pid')}")
        yield from _gauges(status)
        yield from _counters(status)
        yield from _labelled(status)


_GAUGES = (
    ("started_s", "oomkit_guard_start_time_seconds", "When it started.", 1),
    ("last_act_s", "oomkit_guard_last_act_timestamp_seconds", "When it acted last.", 1),
    ("under_way", "oomkit_guard_acts_under_way", "Acts whose memory is not back yet.", 1),
    ("waiting", "oomkit_guard_records_waiting", "Records that could not be written yet.", 1),
    ("mem_total_kb", "oomkit_memory_total_bytes", "MemTotal.", _KB),
    ("available_kb", "oomkit_memory_available_bytes", "MemAvailable.", _KB),
    ("swap_total_kb", "oomkit_swap_total_bytes", "SwapTotal.", _KB),
    ("swap_free_kb", "oomkit_swap_free_bytes", "SwapFree.", _KB),
)  # fmt: skip
_COUNTERS = (
    ("looks", "oomkit_guard_looks", "Times it looked at the machine.", 1),
    ("wakeups", "oomkit_guard_wakeups", "Times it was woken.", 1),
    ("warnings", "oomkit_guard_warnings", "Times memory became low.", 1),
    ("kernel_kills", "oomkit_guard_kernel_kills", "OOM kills of the kernel.", 1),
    ("freed_kb", "oomkit_guard_freed_bytes", "Memory that acts gave back.", _KB),
    ("lost", "oomkit_guard_records_lost", "Records that could not be kept.", 1),
    ("ring_lost", "oomkit_guard_recorder_slots_lost", "What the recorder could not write.", 1),
)  # fmt: skip
_LABELLED = (
    ("acts", "oomkit_guard_acts", "Acts, by how they ended.", "outcome", 1.0),
    ("signals", "oomkit_guard_signals", "Signals sent.", "signal", 1.0),
    ("eases", "oomkit_guard_eases", "Softer acts than a signal.", "act", 1.0),
    ("psi_us", "oomkit_memory_stalled_seconds", "Time tasks stalled for memory.", "kind", 1e-6),
)
"""Key in the status, name, help, the label's name if it has one, and the factor to the unit."""


def _level(status: dict[str, Any]) -> "Metric":
    from prometheus_client.core import StateSetMetricFamily

    value = {name: number == status.get("level") for number, name in enumerate(NAMES)}
    return StateSetMetricFamily(
        "oomkit_guard_level", "Severity of the memory shortage.", value=value
    )


def _faults(status: dict[str, Any]) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    metric = GaugeMetricFamily("oomkit_guard_fault", "What can't be written.", labels=["file"])
    faults = status.get("faults")
    for name in faults if isinstance(faults, dict) else ():
        metric.add_metric([str(name)], 1)
    return metric


def _own(directory: str) -> "Iterator[Metric]":
    """What the daemon itself uses, looked up here so that it costs the daemon nothing."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    fields = stat_fields(read_or_none(f"{directory}/stat") or b"")
    if len(fields) > _RSS:
        cpu_s = (int(fields[_UTIME]) + int(fields[_STIME])) / os.sysconf("SC_CLK_TCK")
        yield CounterMetricFamily("oomkit_guard_cpu_seconds", "CPU time it used.", value=cpu_s)
        rss = int(fields[_RSS]) * os.sysconf("SC_PAGE_SIZE")
        yield GaugeMetricFamily("oomkit_guard_resident_memory_bytes", "Its memory.", value=rss)


def _gauges(status: dict[str, Any]) -> "Iterator[Metric]":
    from prometheus_client.core import GaugeMetricFamily

    for key, name, text, factor in _GAUGES:
        if isinstance(status.get(key), (int, float)):
            yield GaugeMetricFamily(name, text, value=status[key] * factor)


def _counters(status: dict[str, Any]) -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily

    for key, name, text, factor in _COUNTERS:
        if isinstance(status.get(key), (int, float)):
            yield CounterMetricFamily(name, text, value=status[key] * factor)


def _labelled(status: dict[str, Any]) -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily

    for key, name, text, label, factor in _LABELLED:
        values = status.get(key)
        if not isinstance(values, dict):
            continue
        metric = CounterMetricFamily(name, text, labels=[label])
        for which, value in values.items():
            if isinstance(value, (int, float)):
                metric.add_metric([which], value * factor)
        yield metric


def metrics_app(status_path: str, more: Iterable[Any] = ()) -> App:
    """What answers a request for metrics.

    Args:
        status_path: the daemon's status file.
        more: collectors of other metrics.

    Raises:
        ExporterError: prometheus-client is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, make_wsgi_app
    except ImportError:
        raise ExporterError(
            "metrics need the package prometheus-client (pip install 'oomkit[guard]')"
        ) from None
    registry = CollectorRegistry()
    registry.register(Collector(status_path))
    for collector in more:
        registry.register(collector)
    return make_wsgi_app(registry)


def listening(listen: str) -> socket.socket:
    """A socket that listens.

    Args:
        listen: ``HOST:PORT``, ``:PORT`` for every address, ``[HOST]:PORT`` for IPv6, or
            ``unix:PATH``.

    Raises:
        ExporterError: the address can't be used.
    """
    family, address = parse_listen(listen)
    made = _socket(family, listen)
    try:
        if family is socket.AF_UNIX:
            _bind_unix(made, str(address))
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        made.listen(_WAITING)
    except OSError as error:
        made.close()
        raise ExporterError(f"metrics on {listen}: {error.strerror or error}") from None
    return made


def _socket(family: socket.AddressFamily, listen: str) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        hint = ""
        if error.errno == errno.EAFNOSUPPORT:
            hint = "; a sandboxed service needs contrib/systemd/metrics.conf for it"
        raise ExporterError(f"metrics on {listen}: {error.strerror}{hint}") from None


def make_server(
    listen: str, status_path: str, *, parent: int | None = None, more: Iterable[Any] = ()
) -> Server:
    """Return a server that is ready to serve.

    Args:
        listen: see :func:`listening`.
        status_path: the daemon's status file.
        parent: process to end with; None: none.
        more: collectors of other metrics.

    Raises:
        ExporterError: prometheus-client is not installed, or the address can't be used.
    """
    app = metrics_app(status_path, more)
    return Server(listening(listen), app, parent=parent)


def parse_listen(listen: str) -> tuple[socket.AddressFamily, Any]:
    """Return the family of an address, and the address.

    Raises:
        ExporterError: it is neither a port nor a socket's path.
    """
    if listen.startswith("unix:") and len(listen) > len("unix:"):
        return socket.AF_UNIX, listen.removeprefix("unix:")
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ExporterError(
            f"metrics on {listen!r}: expected HOST:PORT, [HOST]:PORT, :PORT or unix:PATH"
        )
    if host.startswith("[") and host.endswith("]"):
        return socket.AF_INET6, (host[1:-1], int(port))
    return socket.AF_INET, (host, int(port))


def _bind_unix(made: socket.socket, path: str) -> None:
    """Bind to a path, in a dead socket's place if it is one of ours, never in another's."""
    directory, name = open_parent(path)
    before = os.umask(0o777 & ~_SOCKET_MODE)
    try:
        _remove_stale(path, directory, name)
        made.bind(path)
    finally:
        os.umask(before)
        os.close(directory)


def _remove_stale(path: str, directory: int, name: str) -> None:
    """Remove the socket of an exporter that is gone; one that answers stays.

    Raises:
        NotSafeError: what is there is no socket, or not ours.
    """
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise NotSafeError(path, "expected no file, or an unused socket of oomkit")
    if found.st_uid != os.geteuid():
        raise NotSafeError(path, f"a socket of user {found.st_uid} is in the way")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        probe.settimeout(0.0)  # one whose queue is full is served as well
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(name, dir_fd=directory)
        except OSError:
            pass


def _remove_ours(path: str, made: os.stat_result | None) -> None:
    """Remove the path of our socket, if that is what is still there."""
    with contextlib.suppress(OSError):
        found = os.lstat(path)
        if made is not None and (found.st_dev, found.st_ino) == (made.st_dev, made.st_ino):
            os.unlink(path)


def main(arguments: Sequence[str] | None = None, more: Iterable[Any] = ()) -> int:
    """Serve until interrupted, with the metrics of other collectors."""
    parser = argparse.ArgumentParser(prog="oomkit.guard.exporter", description=__doc__)
    parser.add_argument("listen", help="HOST:PORT, [HOST]:PORT, :PORT or unix:PATH")
    parser.add_argument("--status", default=config.STATUS, help="the daemon's status file")
    parser.add_argument("--parent", type=int, help="end when this process, our parent, ends")
    parser.add_argument("--fd", type=int, help="a socket that listens there already")
    options = parser.parse_args(arguments)
    if options.parent is not None:
        _be_killed_first()
    try:
        if options.fd is None:
            server = make_server(options.listen, options.status, parent=options.parent, more=more)
        else:
            app = metrics_app(options.status, more)
            server = Server(socket.socket(fileno=options.fd), app, parent=options.parent)
    except ExporterError as error:
        sys.stderr.write(f"oomkit: {error}\n")
        return 2
    path = options.listen.removeprefix("unix:") if options.listen.startswith("unix:") else ""
    made = _status_of(path) if path else None
    try:
        with server, contextlib.suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=_PARENT_EVERY_S)
    finally:
        if path:
            _remove_ours(path, made)
    return 0


def _status_of(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _be_killed_first() -> None:
    """Be killed sooner than others, whatever adjustment a service manager gave our parent."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(_ADJ))


if __name__ == "__main__":
    sys.exit(main())
