"""Which options of ``oomkit run`` go together."""

from oomkit.cli.common import fail


def together(
    views: dict[str, bool],
    files: dict[str, str | None],
    others: tuple[str, ...],
    policies: tuple[str, ...],
    *,
    check: bool,
    compared: bool,
    every_one: bool,
) -> None:
    """Refuse options that would have to be ignored beside others."""
    asked = [name for name, wanted in views.items() if wanted]
    written = [f"--{kind}" for kind, path in files.items() if path is not None]
    to_stdout = [f"--{kind} -" for kind, path in files.items() if path == "-"]
    pictures = [name for name in written if name != "--html"]
    several = "--vs" if others else "several --policy"
    if compared:
        clash = ["--compare", *(["--check"] if check else []), *(["--vs"] if others else []),
                 *(["--policy"] if policies else []),
                 *(name for name in asked if name != "--json"), *pictures]  # fmt: skip
    elif others or len(policies) > 1:
        clash = [several, *(name for name in asked if name != "--json"), *pictures]
        clash += ["--policy twice"] if others and len(policies) > 1 else []
        clash += ["--check"] if check else []
    elif check:
        clash = ["--check", *asked, *written]
    else:
        clash = [*asked, *to_stdout]
    if len(clash) < 2 and asked and to_stdout:
        clash = [asked[0], to_stdout[0]]
    if every_one:
        others_of_all = [*asked, *to_stdout, *([several] if others or len(policies) > 1 else []),
                         *(["--compare"] if compared else [])]  # fmt: skip
        clash = ["--all", *others_of_all] if others_of_all else clash
    if len(clash) > 1:
        fail(f"{clash[0]} and {clash[1]} don't go together")
