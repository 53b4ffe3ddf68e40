"""Make the tables of docs/agreement.md anew: ``python docs/agreement.py [--from JSON...]``.

Plays the battery in a memory cgroup of this host and on the kernels named below in QEMU, which
takes half an hour or more, or takes what ``oomkit agree --json`` printed before. The text
above the tables stays as it is. What the booted kernels did goes to tests/data/agreement as well,
for the tests to hold the model to.
"""

import json
import subprocess
import sys
from pathlib import Path

from oomkit.agree import Agreement, summarise
from oomkit.views import agree_text

PAGE = Path(__file__).parent / "agreement.md"
RECORDS = Path(__file__).parents[1] / "tests" / "data" / "agreement"
FIELDS = ("file", "kernel", "outcome", "victims", "denied", "first_kill_s")
MARK = "<!-- made by docs/agreement.py -->\n"
KERNELS = ("7.3", "7.2", "7.1", "7.0", "6.19", "6.18", "6.12", "6.1", "5.10")
COMMAND = ("agree", "scenarios/battery", "--on", "cgroup", "--on", "qemu",
           *(part for kernel in KERNELS for part in ("--kernel", kernel)),
           "--guests", "2", "--skip-missing", "--json")  # fmt: skip


def played() -> list[Agreement]:
    import msgspec

    files = [Path(name).read_bytes() for name in sys.argv[2:]] or [_play()]
    found = [one for data in files for one in json.loads(data)["agreements"]]
    return msgspec.convert(found, list[Agreement])


def record(found: list[Agreement]) -> None:
    """Keep what the booted kernels did."""
    booted = [one for one in found if one.on == "qemu" and one.played]
    for kernel in dict.fromkeys(one.kernel for one in booted):
        rows = [{f: getattr(one, f) for f in FIELDS} for one in booted if one.kernel == kernel]
        lines = ",\n".join(json.dumps(row) for row in rows)
        path = RECORDS / f"qemu-{'.'.join(kernel.split('.')[:2])}.json"
        path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _play() -> bytes:
    command = [str(Path(sys.executable).parent / "oomkit"), *COMMAND]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode > 1:
        sys.exit(done.returncode)
    return done.stdout


def main() -> None:
    if sys.argv[1:2] not in ([], ["--from"]):
        sys.exit("usage: python docs/agreement.py [--from JSON...]")
    text, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        sys.exit(f"{PAGE}: expected the line {MARK.strip()}")
    found = played()
    record(found)
    PAGE.write_text(
        text + mark + "\n" + agree_text.markdown(found, summarise(found)), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
