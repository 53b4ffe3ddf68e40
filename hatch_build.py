"""What the build does besides packing files: the long description, and compiling on request.

The description is the README, as far as it can be read without its folder. A package index shows
the text alone, so links and pictures that are paths of the source lead nowhere there: of pictures
and links the words stay, with a link's path where it helps.

With ``OOMKIT_COMPILE=1`` in the environment a wheel holds the modelled machine, the rules, the
engine of policies that it asks and the reader of logs, compiled by mypyc beside their source, and
what searches logs, written in C; it is of the platform and the version of Python that it was built
for. It also holds the workload agent as a static program,
built from its C sources by a C compiler or, with ``OOMKIT_AGENT_BY=zig``, by the ``ziglang`` wheel,
which links musl.
"""

import importlib.util
import multiprocessing
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE = re.compile(r"!\[([^]]*)\]\((?!https?:)[^)]*\)")
_LINK = re.compile(r"\[([^]]*)\]\((?!https?:)([^)#]*)(#[^)]*)?\)")
_CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def long_description(readme: str) -> str:
    """The README with words in place of pictures and links that only its folder has."""
    parts = _CODE.split(readme)
    parts[::2] = [_LINK.sub(_words, _PICTURE.sub(r"*\1*", part)) for part in parts[::2]]
    return "".join(parts)


def _words(link: re.Match[str]) -> str:
    words, path = link[1], link[2]
    return words if not path or path in words else f"{words} (`{path}`)"


class CustomMetadataHook(MetadataHookInterface):
    """Sets the readme."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": long_description(text)}


COMPILED = {
    "model": None,
    "kernel": (
        "adj", "alloc", "badness", "cint", "constraint", "oom_control", "out_of_memory", "select",
    ),
    "policy/engine": None,
    "klog": ("parser", "replay", "snapshot"),
    "klog/report": None,
    "klog/userspace": None,
    "klog/lines": (
        "clean", "code", "join", "learned", "pieces", "prefix", "program", "prose", "scan",
        "wrappers",
    ),
}  # fmt: skip
"""Modules that a run spends its time in, by their folder; None: all but those that can't be."""

UNCOMPILED = {
    "model": ("__init__", "of_snapshot", "snapshot_tasks"),
    "policy/engine": ("__init__", "driver", "plan", "plan_parts"),
    "klog/report": ("__init__", "line_records"),
    "klog/userspace": ("__init__", "form"),
}
"""Modules that hold nothing, or what mypyc can't make: records, whose classes are foreign, classes
within a condition, and classes that look at their own slots."""


def compiled_paths(root: Path) -> list[Path]:
    """The modules to compile."""
    source = root / "src/oomkit"
    return sorted(
        path
        for folder, names in COMPILED.items()
        for path in (source / folder).glob("*.py")
        if (path.stem in names if names else path.stem not in UNCOMPILED[folder])
    )


def compiled_groups(root: Path) -> list[list[Path]]:
    """The same by the shared object that they become: as many as are compiled side by side."""
    paths = compiled_paths(root)
    logs = [path for path in paths if "klog" in path.parts]
    return [[path for path in paths if path not in logs], logs]


class CustomBuildHook(BuildHookInterface[Any]):
    """Compiles what pays, if it is asked to."""

    def _is_asked(self) -> bool:
        return self.target_name == "wheel" and os.environ.get("OOMKIT_COMPILE") == "1"

    def dependencies(self) -> list[str]:
        if not self._is_asked():
            return []
        zig = ["ziglang"] if os.environ.get("OOMKIT_AGENT_BY") == "zig" else []
        return ["msgspec", "mypy[mypyc]>=1.20", "setuptools", *zig]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not self._is_asked() or version == "editable":
            return
        self._made = tempfile.TemporaryDirectory(prefix="oomkit-compile-")
        made = Path(self._made.name)
        for lib in compile_all(Path(self.root), made):
            for path in lib.rglob("*.so"):
                build_data["force_include"][str(path)] = str(path.relative_to(lib))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        agent = made / "oomkit-agent"
        build_agent(Path(self.root), agent)
        build_data["force_include"][str(agent)] = AGENT

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if made := getattr(self, "_made", None):
            made.cleanup()


AGENT = "oomkit/real/agent/oomkit-agent"
"""Where the workload agent is found once it is installed."""


def build_agent(root: Path, target: Path) -> None:
    """Build the static workload agent, by what a source tree builds it with."""
    path = root / "src/oomkit/real/agent_build.py"
    spec = importlib.util.spec_from_file_location("agent_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        module.build(str(target), musl_first=True)
    except module.BuildError as error:
        sys.exit(f"the workload agent does not compile: {error}")


def compile_all(root: Path, made: Path) -> list[Path]:
    """Compile each group in a process of its own; returns where the results are."""
    context = multiprocessing.get_context("fork")
    places = []
    processes = []
    for number, paths in enumerate(compiled_groups(root)):
        places.append(made / str(number))
        processes.append(context.Process(target=compile_modules, args=(paths, root, places[-1])))
        processes[-1].start()
    places.append(made / "search")
    processes.append(context.Process(target=compile_search, args=(root, places[-1])))
    processes[-1].start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        sys.exit(1)  # what is wrong was said
    return [place / "lib" for place in places]


def compile_modules(paths: list[Path], root: Path, made: Path) -> None:
    """Compile modules below ``src``; what comes of them is put below ``made/lib``."""
    from mypyc.build import mypycify

    # mypy takes paths, and where modules begin, from the folder it runs in.
    before = Path.cwd()
    os.chdir(root)
    try:
        # What is only imported where it can be had is not here in a build of its own.
        options = ["--config-file", str(root / "pyproject.toml"), "--ignore-missing-imports"]
        options += ["--cache-dir", str(made / "cache")]
        extensions = mypycify(
            [*options, *(str(path.relative_to(root)) for path in paths)],
            opt_level="2", debug_level="0", target_dir=str(made / "c"),
        )  # fmt: skip
        build_extensions(extensions, made)
    except SystemExit as error:
        # What mypy found wrong it has printed.
        sys.exit(f"it does not compile: {error}")
    finally:
        os.chdir(before)


SEARCH = "oomkit.klog.lines._needles"
"""The module in C that looks for words in logs."""


def compile_search(root: Path, made: Path) -> None:
    """Compile that module; it is put below ``made/lib``."""
    from setuptools import Extension

    before = Path.cwd()
    os.chdir(root)
    try:
        source = f"src/{SEARCH.replace('.', '/')}.c"
        build_extensions([Extension(SEARCH, [source], extra_compile_args=["-O3"])], made)
    finally:
        os.chdir(before)


def build_extensions(extensions: list[Any], made: Path) -> None:
    """Have a C compiler make shared objects below ``made/lib``."""
    from setuptools import Distribution

    distribution = Distribution(
        {"name": "oomkit", "ext_modules": extensions, "package_dir": {"": "src"}}
    )
    command = distribution.get_command_obj("build_ext")
    command.build_lib = str(made / "lib")
    command.build_temp = str(made / "objects")
    command.ensure_finalized()
    command.run()
