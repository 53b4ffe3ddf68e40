"""The man pages of every command, from the help texts: contrib/man, and whether it is current.

What a help text has no room for stands in ``contrib/man/NAME.SECTION.in``, in roff, and goes
between the options and the examples.
"""

import re
import sys
from pathlib import Path

import click

from oomkit.cli.main import main as oomkit

MAN = Path(__file__).parents[1] / "contrib/man"
SECTIONS = {"oomkit-guard": 8, "systemd-oomd": 8}
RELATED = {"oomkit-guard": ["systemd-oomd", "earlyoom"]}
_TITLES = {1: "User Commands", 8: "System Administration"}
_MARK = re.compile(r"^\x08\n", re.MULTILINE)


def pages() -> dict[str, str]:
    """Every page by the name of its file."""
    context = click.Context(oomkit, info_name="oomkit")
    names = oomkit.list_commands(context)
    made: dict[str, str] = {}
    for name in names:
        command = oomkit.get_command(context, name)
        assert command is not None
        below = click.Context(command, info_name=name, parent=context)
        made |= _page(f"oomkit-{name}", command, below, ["oomkit"])
    return made | _page("oomkit", oomkit, context, [f"oomkit-{name}" for name in names])


def _page(
    name: str, command: click.Command, context: click.Context, related: list[str]
) -> dict[str, str]:
    section = SECTIONS.get(name, 1)
    title = _TITLES[section]
    summary, _, rest = _MARK.sub("", command.help or "").strip().partition("\n\n")
    summary = " ".join(summary.split())
    # What man -k lists is one line without a full stop, and whatis cuts at the first dash.
    whatis = summary[0].lower() + summary[1:].rstrip(".")
    lines = [
        f'.TH {name.upper()} {section} "" "oomkit" "{title}"',
        ".SH NAME",
        f"{_text(name)} \\- {_text(whatis)}",
        ".SH SYNOPSIS",
        f".B {_text(context.command_path)}",
        _text(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        _text(summary if summary.endswith((".", "?")) else summary + "."),
    ]
    for paragraph in filter(None, rest.split("\n\n")):
        lines += [".PP", _text(" ".join(paragraph.split()))]
    lines.append(".SH OPTIONS")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            lines += [
                ".TP",
                f".B {_text(record[0])}",
                _text(" ".join(record[1].split()) or "Set it."),
            ]
    lines += _commands(command, context)
    more = MAN / f"{name}.{section}.in"
    if more.exists():
        lines += more.read_text().rstrip("\n").split("\n")
    lines += _examples(command)
    lines += [".SH SEE ALSO", _see_also(related + RELATED.get(name, []))]
    return {f"{name}.{section}": "\n".join(lines) + "\n"}


def _commands(command: click.Command, context: click.Context) -> list[str]:
    if not isinstance(command, click.Group):
        return []
    lines = [".SH COMMANDS"]
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        lines += [".TP", f".BR oomkit\\-{_text(name)} ({SECTIONS.get(f'oomkit-{name}', 1)})"]
        lines.append(_text(below.get_short_help_str(limit=1000)))
    return lines


def _examples(command: click.Command) -> list[str]:
    text = _MARK.sub("", command.epilog or "").strip("\n")
    heading, _, body = text.partition("\n")
    if not body:
        return []
    shown = [_text(line.removeprefix("  ")) for line in body.split("\n")]
    return [f".SH {heading.rstrip(':').upper()}", ".nf", *shown, ".fi"]


def _see_also(related: list[str]) -> str:
    return ",\n".join(f".BR {_text(name)} ({SECTIONS.get(name, 1)})" for name in related)


def _text(text: str) -> str:
    """Escape a line for roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def main() -> int:
    """Write the pages; with --check only say which are not current."""
    made = pages()
    stale = sorted(
        {n for n, text in made.items() if not (MAN / n).exists() or (MAN / n).read_text() != text}
        | {path.name for path in MAN.glob("*.[18]") if path.name not in made}
    )
    if sys.argv[1:] == ["--check"]:
        for name in stale:
            sys.stderr.write(f"contrib/man/{name} is not what the help says; make man writes it\n")
        return 1 if stale else 0
    for name in stale:
        if name in made:
            (MAN / name).write_text(made[name])
        else:
            (MAN / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
