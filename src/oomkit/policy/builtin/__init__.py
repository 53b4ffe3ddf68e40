"""The policies that come with oomkit."""

from importlib import resources

NAMES = ("default", "kernel", "earlyoom", "nohang", "systemd-oomd", "oomd-like", "kubelet")


def source(name: str) -> str:
    """The TOML text of a policy that comes with oomkit.

    Raises:
        KeyError: there is none of that name.
    """
    if name not in NAMES:
        raise KeyError(name)
    return resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
