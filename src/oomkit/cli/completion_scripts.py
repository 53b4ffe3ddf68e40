"""What click's scripts for shells lack; importing this has click print and obey ours."""

from click.shell_completion import FishComplete, ZshComplete, add_completion_class


class Zsh(ZshComplete):
    """The script of an autoloaded function completes each time, not only the first.

    While zsh loads the function and calls it, ``zsh_eval_context`` says so; afterwards the file's
    text is the function's body, and what is asked here has to hold again.
    """

    source_template = ZshComplete.source_template.replace(
        "$zsh_eval_context[-1] == loadautofunc", "$funcstack[1] == _oomkit"
    )


class Fish(FishComplete):
    """Descriptions may hold commas."""

    source_template = FishComplete.source_template.replace(
        'string split ","', 'string split --max 1 ","'
    )


for _shell in (Zsh, Fish):
    add_completion_class(_shell)
