"""The policies that come with oomkit."""

from importlib import resources

OF_ANY_MACHINE = ("default", "kernel", "earlyoom", "nohang", "systemd-oomd", "oomd-like")
"""Those that act on any machine; the kubelet's evicts pods alone."""
NAMES = (*OF_ANY_MACHINE, "kubelet")


def source(name: str) -> str:
    """The TOML text of a policy that comes with oomkit.

    Raises:
        KeyError: there is none of that name.
    """
    if name not in NAMES:
        raise KeyError(name)
    return resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
