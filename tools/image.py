"""The OCI image, built by buildah and tried; on a base of Debian's packages where none is named."""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_SUITE = "bookworm"
_INCLUDE = "python3,base-files"
_LEFT_OUT = "usr/lib/*/gconv usr/share/locale usr/share/man usr/share/lintian var/cache var/log"
_COMPILE = "-m compileall -q --invalidation-mode unchecked-hash"
_HOOK = (
    f'cd "$1" && rm -rf {_LEFT_OUT} && find usr/share/doc ! -name copyright -type f -delete'
    f' && set -- usr/lib/python3.* && chroot . /usr/bin/python3 {_COMPILE} "/$1"'
)
"""No shell, no package manager's scripts: what Python needs, as bytecode too, and its licences."""


def mirror() -> str:
    """The mirror of Debian that apt has, or that ``OOMKIT_DEBIAN_MIRROR`` names."""
    from oomkit.real import packages

    try:
        return packages.mirror()
    except packages.PackageError as error:
        sys.exit(str(error))


def base() -> str:
    """An image with Python alone, made once for each way of making it.

    Raises:
        subprocess.CalledProcessError: mmdebstrap or buildah failed.
    """
    way = hashlib.sha256("\0".join((_SUITE, _INCLUDE, _HOOK)).encode()).hexdigest()[:12]
    tag = f"localhost/oomkit-base:{_SUITE}-{way}"
    if identity(tag) is not None:
        return tag
    with tempfile.TemporaryDirectory() as scratch:
        tar = f"{scratch}/base.tar"
        run("mmdebstrap", "--quiet", "--variant=extract", f"--include={_INCLUDE}",
            f"--customize-hook={_HOOK}", _SUITE, tar, f"{mirror()}/debian")  # fmt: skip
        name = subprocess.check_output(["buildah", "from", "scratch"], text=True).strip()
        run("buildah", "add", "--quiet", name, tar)
        run("buildah", "commit", "--quiet", "--timestamp", epoch(), name, tag)
        run("buildah", "rm", name)
    return tag


def identity(tag: str) -> str | None:
    """The id of an image; None: there is none of that name."""
    done = subprocess.run(
        ["buildah", "inspect", "--type", "image", "--format", "{{.FromImageID}}", tag],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return None if done.returncode else done.stdout.strip()


def epoch() -> str:
    """The time that layers are given, so that the same input makes the same image."""
    return os.environ.get("SOURCE_DATE_EPOCH", "0")


def unpacked(archive: Path) -> int:
    """The bytes of an image's files.

    Raises:
        tarfile.TarError: it is no OCI archive.
    """
    with tarfile.open(archive) as tar:

        def read(name: str) -> Any:
            file = tar.extractfile(name)
            assert file is not None
            return file

        def blob(digest: str) -> Any:
            return read(f"blobs/{digest.replace(':', '/')}")

        index = json.load(read("index.json"))
        manifest = json.load(blob(index["manifests"][0]["digest"]))
        total = 0
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=blob(layer["digest"])) as files:
                total += sum(member.size for member in files)
    return total


def stage(site: Path, build: Path) -> Path:
    """Put what the Containerfile copies where it looks for it; returns where."""
    shutil.rmtree(build, ignore_errors=True)
    shutil.copytree(site, build / "build/bundle", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "contrib/debian", build / "contrib/debian")
    for name in ("scenarios", "sweeps"):
        shutil.copytree(ROOT / name, build / name)
    return build


def run(*words: str | Path) -> None:
    """Run a command that has to succeed; what it prints goes to stderr."""
    subprocess.run(words, check=True, stdout=sys.stderr)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path, help="a bundle's directory")
    parser.add_argument("build", type=Path, help="where the build's context is put together")
    parser.add_argument("output", type=Path, help="an OCI archive")
    parser.add_argument("--base", help="an image with /usr/bin/python3")
    parser.add_argument("--tag", default="localhost/oomkit:latest")
    arguments = parser.parse_args()
    for name in ("buildah", *(() if arguments.base else ("mmdebstrap",))):
        if shutil.which(name) is None:
            sys.exit(f"make image needs {name}")
    made = arguments.base or base()
    context = stage(arguments.site, arguments.build)
    before = identity(arguments.tag)
    run(
        "buildah", "bud", "--quiet", "--isolation", "chroot", "--timestamp", epoch(),
        "--build-arg", f"BASE={made}", "--tag", arguments.tag,
        "--file", ROOT / "contrib/oci/Containerfile", context,
    )  # fmt: skip
    arguments.output.unlink(missing_ok=True)
    run("buildah", "push", "--quiet", arguments.tag, f"oci-archive:{arguments.output}:latest")
    if before not in (None, identity(arguments.tag)):
        # That of an earlier build has no name any more. A container may still be made of it.
        subprocess.run(["buildah", "rmi", before], check=False, capture_output=True)
    packed = arguments.output.stat().st_size
    print(f"{arguments.tag}: {arguments.output}, {packed / 1e6:.1f} MB packed, "
          f"{unpacked(arguments.output) / 1e6:.1f} MB of files")  # fmt: skip


if __name__ == "__main__":
    main()
