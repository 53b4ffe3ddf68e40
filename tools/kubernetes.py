"""Build the programs of a Kubernetes control plane and node from Debian's packages.

No package index has an API server as a program; Debian's source package of kubernetes holds all of
it, from which Debian builds kubectl alone. Go and etcd are Debian's as well. Nothing is installed:
everything lies below one directory. On two CPUs it takes ten minutes, and 3 GB of disk, most of
which are given back.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from oomkit.real.packages import KEYRING, PackageError, cache_directory, call, mirror, needs

SUITE = "bookworm"
GO = "1.19"
PACKAGES = (
    f"golang-{GO}-go", f"golang-{GO}-src", "etcd-server", "kubernetes-client",
    "golang-github-modern-go-reflect2-dev",
)  # fmt: skip
BUILT = ("kube-apiserver", "kube-controller-manager", "kubelet")
TAKEN = ("etcd", "kubectl")
_HERE = "k8s.io/kubernetes"
_REFLECT = "github.com/modern-go/reflect2"
_TAG = "// +k8s:openapi-gen="
_OTHERS = ("code-generator", "sample-apiserver")


def programs() -> Path:
    """Where they are put."""
    return Path(cache_directory("kubernetes"))


def fetched(scratch: Path) -> Path:
    """Packages unpacked, and the source beside; returns where the former are.

    Raises:
        PackageError: apt failed.
    """
    for part in ("lists/partial", "cache/archives/partial"):
        (scratch / "apt" / part).mkdir(parents=True, exist_ok=True)
    site = f"[signed-by={KEYRING}] {mirror()}/debian {SUITE} main"
    (scratch / "apt/sources.list").write_text(f"deb {site}\ndeb-src {site}\n")
    options = {
        "Dir::Etc::sourcelist": f"{scratch}/apt/sources.list", "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": f"{scratch}/apt/lists", "Dir::Cache": f"{scratch}/apt/cache",
        "Acquire::Languages": "none", "APT::Sandbox::User": "root",
    }  # fmt: skip
    given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    call(["apt-get", *given, "update", "-q"], str(scratch))
    call(["apt-get", *given, "download", "-q", *PACKAGES], str(scratch))
    for package in scratch.glob("*.deb"):
        call(["dpkg-deb", "-x", str(package), f"{scratch}/root"])
    call(["apt-get", *given, "source", "-q", "--download-only", "kubernetes"], str(scratch))
    (archive,) = scratch.glob("kubernetes_*.orig.tar.gz")
    tree = scratch / "go/src" / _HERE
    tree.mkdir(parents=True)
    call(["tar", "-C", str(tree), "--strip-components=1", "-xf", str(archive)])
    return scratch / "root"


def repaired(tree: Path, root: Path) -> None:
    """Replace what the source brings along and what newer Go breaks by Debian's package of it."""
    vendored = tree / "vendor" / _REFLECT
    shutil.rmtree(vendored)
    shutil.copytree(root / "usr/share/gocode/src" / _REFLECT, vendored)


def described(tree: Path, go: list[str], environment: dict[str, str]) -> None:
    """Make what the source leaves to be generated: the API's description."""
    tool = tree.parents[3] / "openapi-gen"
    _built(tree, [*go, "build", "-o", str(tool), "./vendor/k8s.io/kube-openapi/cmd/openapi-gen"],
           environment)  # fmt: skip
    found = set()
    for top in ("staging/src/k8s.io", "pkg", "cmd"):
        for path in (tree / top).rglob("*.go"):
            if _TAG in path.read_text(errors="replace") and not set(_OTHERS) & set(path.parts):
                inside = str(path.parent.relative_to(tree))
                found.add(f"{_HERE}/{inside.replace('staging/src/k8s.io', 'vendor/k8s.io', 1)}")
    _built(tree, [
        str(tool), "-i", ",".join(sorted(found)), "-p", f"{_HERE}/pkg/generated/openapi",
        "-O", "zz_generated.openapi", "-r", os.devnull,
        "-h", "vendor/k8s.io/code-generator/hack/boilerplate.go.txt",
    ], environment)  # fmt: skip


def _built(tree: Path, command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=tree, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:3])} ...: failed")


def main() -> None:
    """Build what is not there yet."""
    into = programs()
    if all((into / name).exists() for name in (*BUILT, *TAKEN)):
        print(into)
        return
    scratch = into / "build"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        needs(("apt-get", "dpkg-deb", "tar"), "building Kubernetes")
        root = fetched(scratch)
    except PackageError as error:
        sys.exit(str(error))
    tree = scratch / "go/src" / _HERE
    repaired(tree, root)
    home = root / f"usr/lib/go-{GO}"
    environment = {
        **os.environ, "GOROOT": str(home), "GOPATH": f"{scratch}/go", "GOCACHE": f"{scratch}/cache",
        "GO111MODULE": "off", "GOPROXY": "off", "CGO_ENABLED": "0", "PWD": str(tree),
        "PATH": f"{home}/bin:{os.environ['PATH']}",
    }  # fmt: skip
    go = [f"{home}/bin/go"]
    described(tree, go, environment)
    (version,) = {path.name.split("_")[1].split(".orig")[0].rpartition("really")[2]
                  for path in scratch.glob("kubernetes_*.orig.tar.gz")}  # fmt: skip
    flags = f"-s -w -X {_HERE}/vendor/k8s.io/component-base/version.gitVersion=v{version}"
    for name in BUILT:
        print(f"building {name} {version}", flush=True)
        _built(tree, [*go, "build", "-ldflags", flags, "-o", str(into / name), f"./cmd/{name}"],
               environment)  # fmt: skip
    for name in TAKEN:
        shutil.copy(root / "usr/bin" / name, into / name)
    shutil.rmtree(scratch)
    print(into)


if __name__ == "__main__":
    main()
