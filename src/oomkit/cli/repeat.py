"""The command that plays again what a command has just played."""

import shlex
from collections.abc import Collection

import click
from click.core import ParameterSource


def repeating(ctx: click.Context, shows: Collection[str]) -> str:
    """Return the command line, for a shell, with all that was given to change what is played.

    Args:
        ctx: the command as it was given.
        shows: names of its parameters that only say what is shown, and where.
    """
    words = ["oomkit", ctx.info_name or ""]
    for param in ctx.command.params:
        name = param.name or ""
        if name in shows or ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = ctx.params[name]
        several = isinstance(value, tuple)
        for one in value if several else (value,):
            if isinstance(param, click.Argument):
                words.append(str(one))
            elif isinstance(param, click.Option) and param.is_flag:
                words.append(max(param.opts, key=len))
            else:
                words += [max(param.opts, key=len), str(one)]
    return shlex.join(words)
