"""The last look at a process before it is signalled: may it still be?"""

import time

from oomkit.guard.identity import Users, Wanted
from oomkit.guard.process_files import watched
from oomkit.host.pidns import inside
from oomkit.policy.engine.kill_scope import DYING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from oomkit.guard.config import Places
    from oomkit.guard.process_files import ProcessFiles
    from oomkit.policy.engine.candidate import Candidate
    from oomkit.policy.engine.victim import Chooser


class Recheck:
    """Holds a process against a policy's protections, with nothing remembered.

    Between a ranking and a signal a process can run another program, become another user, move
    to another cgroup, have its adjustment changed; and the policy can be another one. So
    everything that protects is read again before each signal.

    Args:
        chooser: of the policy that is in force; it knows which processes are never chosen.
        places: where processes and cgroups are.
        fields: what the policy's patterns are about.
        users: names of user ids.
        root: the cgroup below which the system's manager keeps its units; None: to be looked up.
        files_of: finds the open files of a process, which are read then; None: there are none.
    """

    __slots__ = ("_chooser", "_files_of", "_places", "_users", "_wanted")

    def __init__(
        self,
        chooser: "Chooser",
        places: "Places",
        fields: "frozenset[str]",
        users: Users,
        *,
        root: str | None = None,
        files_of: "Callable[[int], ProcessFiles | None] | None" = None,
    ) -> None:
        self._files_of = files_of
        self._chooser = chooser
        self._places = places
        self._users = users
        self._wanted = Wanted(places, fields - {"oom_score"}, users.names, whole=True, root=root)

    def refusal(self, pid: int) -> str:
        """Why a process must not be signalled; empty where it may.

        Call it with a pidfd of the process held, and that it is the one that was meant compared.
        One that has exited is not refused: signalling its pidfd shows that.

        Raises:
            OSError: too many files are open, or ``/proc`` can't be read.
        """
        if "user" in self._wanted.fields:
            self._users.refresh()
        try:
            one = self._read(pid)
        except (FileNotFoundError, ProcessLookupError):
            return ""
        except (ValueError, IndexError) as error:
            return f"what it is can't be read: {error}"
        if one.init_of is None:
            return self._refusal(one)
        return self._refusal(one) or self._refusal_inside(one.init_of)

    def candidate(self, pid: int) -> "Candidate | None":
        """What a process is now; None if it is gone or can't be read."""
        try:
            return self._read(pid)
        except (OSError, ValueError, IndexError):
            return None

    def _refusal_inside(self, namespace: int) -> str:
        """Why some process of a pid namespace must not die, which it would with the init."""
        for pid in inside(self._places.proc, {namespace}):
            try:
                one = self._read(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue
            except (ValueError, IndexError) as error:
                return f"process {pid} dies with it, and what it is can't be read: {error}"
            why = self._refusal(one)
            if why:
                return f"{one.comm}[{pid}] dies with it: {why}"
        return ""

    def _read(self, pid: int) -> "Candidate":
        one = self._read_now(pid)
        if not self._users.is_current and one.user is None and "user" in self._wanted.fields:
            one.unknown = (*one.unknown, "user")
        return one

    def _read_now(self, pid: int) -> "Candidate":
        boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        files = self._files_of(pid) if self._files_of is not None else None
        if files is not None:
            try:
                return files.afresh(self._wanted, boot_s)
            except (ProcessLookupError, FileNotFoundError):
                pass  # it is gone, or a thread of it whose files were read
        one = watched(pid, self._wanted, boot_s)
        one.close()
        return one.candidate

    def _refusal(self, one: "Candidate") -> str:
        why = self._chooser.refusal(one)
        return self._chooser.protection(one) if why == DYING else why
