"""A Kubernetes control plane on the loopback address, without nodes."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oomkit.real.packages import cache_directory

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
_STARTS_S = 300.0
_CONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: here, cluster: {{server: "{url}", insecure-skip-tls-verify: true}}}}]
users: [{{name: admin, user: {{token: {token}}}}}]
contexts: [{{name: here, context: {{cluster: here, user: admin}}}}]
current-context: here
"""


def built(name: str) -> str | None:
    """Where a program is, as ``make kubernetes`` leaves it, or installed; None: neither."""
    path = Path(cache_directory("kubernetes"), name)
    return str(path) if path.exists() else shutil.which(name)


def program(name: str) -> str:
    """Where one is; skips where it is not."""
    found = built(name)
    if found is None:
        pytest.skip(f"needs {name} (make kubernetes builds it from Debian's packages)")
    return found


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class ControlPlane:
    """etcd, the API server, and the controllers of DaemonSets and accounts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[subprocess.Popen[bytes]] = []
        self._token = secrets.token_hex(8)
        self._config = directory / "config"

    def start(self) -> None:
        paths = {name: program(name) for name in PROGRAMS}
        if shutil.which("openssl") is None:
            pytest.skip("needs openssl to make a key")
        etcd, peer, port = free_ports(3)
        here, store = self._directory, f"http://127.0.0.1:{etcd}"
        url = f"https://127.0.0.1:{port}"
        self._config.write_text(_CONFIG.format(url=url, token=self._token))
        (here / "tokens").write_text(f'{self._token},admin,admin,"system:masters"\n')
        subprocess.run(["openssl", "genrsa", "-out", here / "key", "2048"], check=True,
                       capture_output=True)  # fmt: skip
        self._run(paths["etcd"], "--data-dir", f"{here}/etcd", "--listen-client-urls", store,
                  "--advertise-client-urls", store,
                  "--listen-peer-urls", f"http://127.0.0.1:{peer}")  # fmt: skip
        self._run(
            paths["kube-apiserver"], "--etcd-servers", store, "--bind-address", "127.0.0.1",
            "--secure-port", str(port), "--insecure-port", "0", "--cert-dir", f"{here}/certs",
            "--service-cluster-ip-range", "10.9.0.0/24", "--token-auth-file", f"{here}/tokens",
            "--authorization-mode", "RBAC", "--allow-privileged",
            "--service-account-issuer", "https://localhost",
            "--service-account-signing-key-file", f"{here}/key",
            "--service-account-key-file", f"{here}/key",
        )  # fmt: skip
        self._until_healthy(url)
        self._run(paths["kube-controller-manager"], "--kubeconfig", str(self._config),
                  "--leader-elect=false", "--controllers", "daemonset,serviceaccount",
                  "--port", "0", "--secure-port", "0")  # fmt: skip

    def _run(self, *words: str) -> None:
        name = os.path.basename(words[0])
        with (self._directory / f"{name}.log").open("wb") as log:
            self._started.append(subprocess.Popen(words, stdout=log, stderr=log))

    def _until_healthy(self, url: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        asked = urllib.request.Request(
            f"{url}/healthz", headers={"Authorization": f"Bearer {self._token}"}
        )
        end = time.monotonic() + _STARTS_S
        while True:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(asked, context=context) as answer,
            ):
                if answer.read() == b"ok":
                    return
            ended = [one.args for one in self._started if one.poll() is not None]
            assert not ended, (self._directory / "kube-apiserver.log").read_text()[-2000:]
            assert time.monotonic() < end, "the API server is not healthy"
            time.sleep(0.5)

    def kubectl(self, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [program("kubectl"), "--kubeconfig", self._config, "--cache-dir",
             self._directory / "cache", *words],
            input=stdin, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def get(self, *words: str) -> Any:
        """What there is, once it is there."""
        end = time.monotonic() + _STARTS_S
        while True:
            done = self.kubectl("get", "-o", "json", *words)
            found = json.loads(done.stdout) if not done.returncode else None
            if found is not None and found.get("items", [found]):
                return found
            assert time.monotonic() < end, done.stderr
            time.sleep(0.5)

    def stop(self) -> None:
        for process in reversed(self._started):
            process.terminate()
        for process in self._started:
            process.wait(60)


@contextlib.contextmanager
def control_plane(directory: Path) -> Iterator[ControlPlane]:
    """One for as long as it is used."""
    made = ControlPlane(directory)
    try:
        made.start()
        yield made
    finally:
        made.stop()
