"""Where the command begins: quiet when it is interrupted before it has anything to undo.

While modules are imported a KeyboardInterrupt would be a traceback, so until then SIGINT ends the
process as it does other programs. This has to come before any other import; ``_signal`` is
what ``signal`` wraps, and part of the interpreter. If SIGINT was ignored at the start, it still is.
"""

import _signal  # type: ignore[import-not-found]  # no stub
import gc
import os
import sys

# What modules make stays: looking for garbage while they are imported, or among them later,
# takes a twentieth of the start and finds none.
gc.disable()

if sys.argv[1:2] == ["guard"]:
    # A guard that is still starting is not to end by SIGHUP, which is for the daemon to take: it
    # is held from here on, through the change of programs, until there is a handler for it.
    _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGHUP,))

_ours = _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
if _ours:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def main() -> None:
    """Run the command."""
    if sys.argv[1:2] == ["exec"]:
        from oomkit.cli import exec_run

        exec_run.start(sys.argv[2:])

    if sys.argv[1:2] == ["explain"]:
        from oomkit.cli import explain_begin

        explain_begin.begin(sys.argv[2:])

    if "_OOMKIT_COMPLETE" in os.environ:
        from oomkit.cli import completion_scripts as _  # noqa: F401  # registers itself

    from oomkit.cli.main import main as command

    if _ours:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    gc.freeze()
    gc.enable()
    command()


if __name__ == "__main__":
    main()
