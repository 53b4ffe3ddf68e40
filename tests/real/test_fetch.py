"""Fetching Debian's kernels: which suite, which packages, and where they are found afterwards."""

import struct
from pathlib import Path

import pytest

from oomkit.real import kernels, packages

pytestmark = pytest.mark.hermetic


class FakeApt:
    """Knows packages by name; those of ``gone`` are in its index and no longer on the mirror."""

    def __init__(self, *names: str, gone: str = "") -> None:
        self.known = list(names)
        self.gone = gone
        self.fetched: list[str] = []

    def names(self, pattern: str) -> list[str]:
        import re

        return [name for name in self.known if re.search(pattern, name)]

    def download(self, package: str, into: str) -> str:
        if self.gone and self.gone in package:
            raise packages.PackageError("404")
        self.fetched.append(package)
        return f"{into}/{package}_1.deb"


def _image(path: Path, release: str) -> None:
    head = bytearray(0x400)
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x20E, 0x100)
    head[0x300 : 0x300 + len(release) + 1] = release.encode() + b" "
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(head))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unpacking puts an image where new packages do."""
    directory = tmp_path / "cache"

    def unpack(packages: list[str], into: str, name: str = "") -> str:
        release = name.removeprefix("linux-image-")
        root = Path(into) / name
        _image(root / "usr/lib/modules" / release / "vmlinuz", release)
        (root / "usr/lib/modules" / release / "kernel").mkdir()
        return str(root)

    monkeypatch.setattr(kernels, "cache_directory", lambda: str(directory))
    monkeypatch.setattr(packages, "unpack", unpack)
    monkeypatch.setattr(packages, "needs", lambda *_: None)
    return directory


def _sources(monkeypatch: pytest.MonkeyPatch, host: FakeApt, suites: FakeApt) -> None:
    monkeypatch.setattr(packages, "HostApt", lambda: host)
    monkeypatch.setattr(packages, "SuitesApt", lambda: suites)


NEW = [f"linux-{part}-7.3.4+deb13-cloud-amd64" for part in ("base", "binary", "image", "modules")]


def test_what_the_host_lacks_comes_from_debians_suites_in_all_its_parts(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    host = FakeApt("linux-image-6.1.0-56-cloud-amd64")
    suites = FakeApt(*NEW, "linux-modules-7.2.9+deb13-cloud-amd64", "linux-image-7.3.4+deb13-amd64")
    _sources(monkeypatch, host, suites)
    found = kernels.fetch("7.3")
    assert found.release == "7.3.4+deb13-cloud-amd64"
    assert found.modules is not None
    assert suites.fetched == [name for name in NEW if "image" not in name]
    assert host.fetched == []
    assert [k.release for k in kernels.bootable() if k.image.startswith(str(cache))] == [
        "7.3.4+deb13-cloud-amd64"
    ]


def test_a_kernel_in_one_package_comes_whole_and_the_hosts_own_first(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    host = FakeApt("linux-image-6.1.0-56-cloud-amd64", "linux-image-6.1.0-50-cloud-amd64")
    _sources(monkeypatch, host, FakeApt("linux-image-6.1.0-99-cloud-amd64"))
    assert kernels.fetch("6.1").release == "6.1.0-56-cloud-amd64"
    assert host.fetched == ["linux-image-6.1.0-56-cloud-amd64"]


def test_an_older_release_is_taken_where_the_mirror_dropped_the_newest(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    names = [f"linux-image-6.18.{n}+deb13-cloud-amd64" for n in (9, 15)]
    _sources(monkeypatch, FakeApt(), FakeApt(*names, gone="6.18.15"))
    assert kernels.fetch("6.18").release == "6.18.9+deb13-cloud-amd64"


def test_no_suite_has_it(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    _sources(monkeypatch, FakeApt(), FakeApt(*NEW))
    with pytest.raises(kernels.NoKernelError, match=r"no cloud kernel 6\.5; .*trixie-backports"):
        kernels.fetch("6.5")


def test_ours_is_an_apt_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own sources, lists or cache is read or written; keys are checked."""
    called: list[list[str]] = []
    keyring = tmp_path / "keys.gpg"
    keyring.write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(packages, "KEYRING", str(keyring))

    def call(command: list[str], _into: str | None = None) -> str:
        if command[1] == "indextargets":
            return "http://mirror.example/ubuntu\nhttp://mirror.example/debian/\n"
        called.append(command)
        return ""

    monkeypatch.setattr(packages, "call", call)
    packages.SuitesApt().names("x")
    update, listed = called
    assert update[0] == "apt-get"
    assert "update" in update
    for command in (update, listed):
        for option in ("Dir::Etc::sourceparts=-", f"Dir::Cache={tmp_path}/oomkit/apt/cache"):
            assert option in command
        assert any(o.startswith(f"Dir::State::lists={tmp_path}") for o in command)
    sources = (tmp_path / "oomkit/apt/sources.list").read_text()
    begin = f"deb [signed-by={keyring}] http://mirror.example/debian"
    assert all(line.startswith(begin) for line in sources.splitlines())
    assert len(sources.splitlines()) == len(packages.SUITES)


def test_without_debians_keys_nothing_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(packages, "KEYRING", str(tmp_path / "none.gpg"))
    with pytest.raises(packages.PackageError, match="debian-archive-keyring"):
        packages.SuitesApt().names("x")


def test_an_image_named_by_its_path_has_the_modules_beside_it(tmp_path: Path) -> None:
    release = "7.3.4+deb13-cloud-amd64"
    place = tmp_path / "usr/lib/modules" / release
    _image(place / "vmlinuz", release)
    (place / "kernel").mkdir()
    found = kernels.find(str(place / "vmlinuz"), "7.3")
    assert (found.release, found.modules) == (release, str(place))


def test_a_mirror_is_named_or_known_to_apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keyring = tmp_path / "keys.gpg"
    keyring.write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(packages, "KEYRING", str(keyring))
    monkeypatch.setattr(packages, "call", lambda *_: "")
    with pytest.raises(packages.PackageError, match=packages.MIRROR_VARIABLE):
        packages.SuitesApt().names("x")
    monkeypatch.setenv(packages.MIRROR_VARIABLE, "http://named.example/")
    packages.SuitesApt().names("x")
    assert "http://named.example/debian " in (tmp_path / "oomkit/apt/sources.list").read_text()
