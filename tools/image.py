"""The OCI image, built by buildah and tried; on a base of Debian's packages where none is named."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BASE = "localhost/oomkit-base:latest"
_INCLUDE = "python3"
_SUITE = "bookworm"


def mirror() -> str:
    """The mirror of Debian that apt has, or that ``OOMKIT_DEBIAN_MIRROR`` names."""
    from oomkit.real import packages

    try:
        return packages.mirror()
    except packages.PackageError as error:
        sys.exit(str(error))


def base() -> str:
    """An image with Python alone, made once.

    Raises:
        subprocess.CalledProcessError: mmdebstrap or buildah failed.
    """
    if not subprocess.run(
        ["buildah", "inspect", "--type", "image", _BASE], capture_output=True, check=False
    ).returncode:
        return _BASE
    with tempfile.TemporaryDirectory() as scratch:
        tar = f"{scratch}/base.tar"
        run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={_INCLUDE}", _SUITE, tar,
            f"{mirror()}/debian")  # fmt: skip
        name = subprocess.check_output(["buildah", "from", "scratch"], text=True).strip()
        run("buildah", "add", "--quiet", name, tar)
        run("buildah", "commit", "--quiet", name, _BASE)
        run("buildah", "rm", name)
    return _BASE


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
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "0")
    run(
        "buildah", "bud", "--quiet", "--isolation", "chroot", "--timestamp", epoch,
        "--build-arg", f"BASE={made}", "--tag", arguments.tag,
        "--file", ROOT / "contrib/oci/Containerfile", context,
    )  # fmt: skip
    arguments.output.unlink(missing_ok=True)
    run("buildah", "push", "--quiet", arguments.tag, f"oci-archive:{arguments.output}:latest")
    print(arguments.tag)


if __name__ == "__main__":
    main()
