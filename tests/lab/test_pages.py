"""The lab in a browser without a network: what it shows is what the command prints."""

import bz2
import gzip
import json
import lzma
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hatch_build import compiled_groups

from oomkit.explain.explanation import Case
from oomkit.explain.files import read_file
from oomkit.kernel.state import Memory, Snapshot, Sysctl, Task
from oomkit.kernel.versions import history
from oomkit.model import play
from oomkit.policy.read import find_policy
from oomkit.records import to_json
from oomkit.scenario import read_scenario
from oomkit.scenario.read import ScenarioError, scenario_from
from oomkit.views.explain_json import objects
from tests.lab.pages import AXE, ROOT, SITE, Lab, lab, needs_site

pytestmark = pytest.mark.guest

LOGS = ROOT / "tests/data/oom-logs"
SCENARIOS = sorted((ROOT / "scenarios").glob("*.toml"))
_EVIL = "<img src=x onerror=window.pwned=1>"


_HOSTILE = """\
[10.0] COMM invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0
[10.0] CPU: 0 PID: 7 Comm: COMM Not tainted 4.4.0 #1
[10.0] Task in /a/PATH killed as a result of limit of /a
[10.0] memory: usage 102400kB, limit 102400kB, failcnt 9
[10.0] [ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name
[10.0] [    7]     0     7    99999    25600     100       3        0             0 COMM
[10.0] Memory cgroup out of memory: Kill process 7 (COMM) score 999 or sacrifice child
[10.0] Killed process 7 (COMM) total-vm:399996kB, anon-rss:102400kB, file-rss:0kB
"""
_DRAG = """{
  const knob = document.%s;
  knob.value = %d;
  knob.dispatchEvent(new Event("input", { bubbles: true }));
}"""
_WRONG = 'name = 1\n[machine]\nram = "2G"'


def _machine() -> Snapshot:
    gib = 1 << 18
    return Snapshot(
        kernel="6.12.1",
        memory=Memory(total_ram_pages=gib, total_swap_pages=0),
        sysctl=Sysctl(),
        tasks=(
            Task(pid=1, comm="systemd", global_init=True, rss_pages=3000, total_vm_pages=42000),
            Task(pid=7, comm="<b>x</b><i>", rss_pages=gib // 2, total_vm_pages=gib,
                 cgroup=f"/{_EVIL}"),
            Task(pid=8, comm="web", rss_pages=gib // 4, total_vm_pages=gib),
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def tab() -> Iterator[Lab]:
    needs_site()
    with lab(_machine()) as opened:
        yield opened


def _log_files() -> list[Path]:
    return [p for p in sorted(LOGS.iterdir()) if p.is_file() and p.suffix not in (".md", ".csv")]


def test_every_log_is_explained_as_the_command_explains_it(
    tab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(LOGS)
    different = []
    for path in _log_files():
        case = Case([read_file(path.name)])
        found = [to_json(one).decode() for one in objects(case, range(len(case.reports)))]
        tab.ask("explain", {}, (path.name, path.read_bytes()))
        if tab.ask("explain_records", {}) != "".join(f"{line}\n" for line in found):
            different.append(path.name)
    assert different == []


def test_the_model_runs_as_it_was_built(tab: Lab) -> None:
    with zipfile.ZipFile(SITE / "oomkit.zip") as archive:
        names = archive.namelist()
    built = {name.partition(".")[0] for name in names if name.endswith(".so")}
    expected = {"oomkit__mypyc"} | {
        str(path.relative_to(ROOT / "src").with_suffix("")) for path in compiled_groups(ROOT)[0]
    }
    assert built in (set(), expected)
    assert tab.value("document.documentElement.dataset.model") == (
        "compiled" if built else "interpreted"
    )


def test_every_scenario_is_played_as_the_command_plays_it(tab: Lab) -> None:
    different = []
    for path in SCENARIOS:
        run = play(read_scenario(str(path)), sample_s=None)
        given: dict[str, Any] = {"text": path.read_text()}
        if tab.ask("record", given) != to_json(run).decode():
            different.append(path.name)
        drawn = tab.ask("play", given)
        (rest,) = tab.ask("details", {})
        same = (
            [kill["t"] for kill in drawn["kills"]] == [kill.t_s for kill in run.kills]
            and rest["traces"] == [list(kill.trace) for kill in run.kills]
            and rest["log"] == list(run.log[: len(rest["log"])])
            and len(rest["log"]) + rest["log_left_out"] == len(run.log)
        )
        if not same:
            different.append(f"{path.name}, as it is drawn")
    path = ROOT / "scenarios/database-and-leak.toml"
    run = play(read_scenario(str(path)), policy=find_policy("earlyoom"), sample_s=None)
    given = {"text": path.read_text(), "policy": "earlyoom"}
    if tab.ask("record", given) != to_json(run).decode():
        different.append("earlyoom")
    assert different == []


def test_a_pasted_log_is_shown_and_hostile_names_stay_text(tab: Lab) -> None:
    """Scripts as a command, in a cgroup's path and in a program's message."""
    log = _HOSTILE.replace("COMM", "<svg/onload=1>").replace("PATH", _EVIL.replace(" ", "/"))
    tab.value("location.hash = '#explain'")
    tab.value(f"document.getElementById('log').value = {json.dumps(log)}")
    tab.value("document.getElementById('explain-form').requestSubmit()")
    tab.until("document.documentElement.dataset.explained === 'pasted.log'")
    shown = tab.value("document.getElementById('explain-body').innerText")
    assert "<svg/onload=1>[7]" in shown
    assert "onerror=window.pwned" in shown
    assert not tab.value("document.querySelector('#explain-body img, #explain-body [onload]')")
    page = tab.ask("explain_page", {})
    assert "<svg/onload" not in page
    assert tab.value("window.pwned") is None


def test_a_redacted_log_names_nobody(tab: Lab) -> None:
    path = LOGS / "m-5.15-pve-lxc-php-fpm-german-date.log"
    tab.ask("explain", {"redact": True}, (path.name, path.read_bytes()))
    page = tab.ask("explain_page", {})
    assert "php-fpm" not in page
    assert "comm-1" in page


_PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": lambda data: zstandard().ZstdCompressor().compress(data),
}


def zstandard() -> Any:
    """What packs; what unpacks in the browser is Python's own."""
    return pytest.importorskip("zstandard")


def test_packed_logs_are_read_and_cut_ones_say_so(tab: Lab) -> None:
    ordinary = b"".join(b"Jun  1 10:00:00 web sshd[%d]: Accepted\n" % i for i in range(5000))
    data = ordinary + (LOGS / "s-5.13-ubuntu-sysrq-order-1.log").read_bytes()
    assert tab.ask("explain", {}, ("plain.log", data))["reports"] == 1
    expected = tab.ask("explain_records", {})
    for kind, pack in _PACKED.items():
        packed = pack(data)
        found = tab.ask("explain", {}, (f"log.{kind}", packed))
        assert (found["reports"], found["error"]) == (1, None), kind
        records = tab.ask("explain_records", {})
        assert records.replace(f"log.{kind}", "plain.log") == expected, kind
        cut = tab.ask("explain", {}, (f"cut.{kind}", packed[: len(packed) // 2]))
        said = " ".join(cut["faults"]) if "faults" in cut else cut["error"]
        assert f"cut.{kind}: the compressed data is damaged" in said
        broken = tab.ask("explain", {}, (f"broken.{kind}", packed[:8] + b"\xff" * 60))
        said = " ".join(broken["faults"]) if "faults" in broken else broken["error"]
        assert f"broken.{kind}" in said


def test_a_bomb_in_an_archive_is_read_in_pieces(tab: Lab) -> None:
    found = tab.ask("explain", {}, ("bomb.zst", _PACKED["zst"](b"\0" * 64_000_000)))
    assert found["reports"] == 0


def test_every_field_is_explained_and_processes_are_sorted_by_the_keyboard(tab: Lab) -> None:
    path = LOGS / "m-5.15-pve-lxc-php-fpm-german-date.log"
    tab.value("location.hash = '#explain'")
    tab.value(
        f"document.getElementById('log').value = {json.dumps(path.read_text(errors='replace'))}"
    )
    tab.value("delete document.documentElement.dataset.explained")
    tab.value("document.getElementById('explain-form').requestSubmit()")
    tab.until("document.documentElement.dataset.explained === 'pasted.log'")
    tab.value("document.querySelectorAll('details.part').forEach((one) => { one.open = true; })")
    tab.until("document.querySelector('.sortable') && document.querySelector('.loglines')")
    names = tab.value(
        "[...document.querySelectorAll('.sortable th button')].map((one) => one.innerText)"
    )
    at = names.index("resident") + 1
    for order, first in (("descending", True), ("ascending", False)):
        tab.value(f"document.querySelector('.sortable th:nth-child({at}) button').focus()")
        tab.press("Enter")
        heading = tab.value(f"document.querySelector('.sortable th:nth-child({at})').ariaSort")
        assert heading == order
        cells = tab.value(
            "[...document.querySelectorAll('.sortable tbody tr')]"
            f".map((row) => row.cells[{at - 1}].innerText)"
        )
        assert (cells[0] == "12.2 GiB") == first
        assert (cells[-1] == "12.2 GiB") != first
    assert (
        tab.value("document.querySelector('.sortable tr.killed').cells[0].innerText") == "php-fpm"
    )
    titles = tab.value("[...document.querySelectorAll('.logpart h3')].map((one) => one.innerText)")
    assert "Hardware and call trace" in titles
    tab.value("document.querySelectorAll('.loglines')[0].focus()")
    tab.press("ArrowRight")
    tab.press("ArrowRight")
    meaning = tab.value("document.querySelector('.meaning-now').innerText")
    assert meaning.startswith("gfp_mask=0x1100cca")
    assert "dump_header()" in meaning


def test_print_cuts_nothing_off(tab: Lab) -> None:
    path = LOGS / "m-5.15-pve-lxc-php-fpm-german-date.log"
    tab.value("location.hash = '#explain'")
    tab.value(
        f"document.getElementById('log').value = {json.dumps(path.read_text(errors='replace'))}"
    )
    tab.value("delete document.documentElement.dataset.explained")
    tab.value("document.getElementById('explain-form').requestSubmit()")
    tab.until("document.documentElement.dataset.explained === 'pasted.log'")
    screen = {"height": 900, "deviceScaleFactor": 1, "mobile": False}
    tab.call("Emulation.setDeviceMetricsOverride", width=794, **screen)
    tab.show_as("print")
    try:
        edges = tab.value(
            "[...document.querySelectorAll('#explain-body table')]"
            ".map((one) => one.getBoundingClientRect().right)"
        )
        clipped = "getComputedStyle(document.querySelector('#explain-body .wide')).overflowX"
        assert tab.value(clipped) == "visible"
    finally:
        tab.show_as()
        tab.call("Emulation.setDeviceMetricsOverride", width=1200, **screen)
    assert 0 < max(edges) <= 794


def _shows(tab: Lab, file: str) -> None:
    """Go to a scenario, from another page, and wait until it was played."""
    tab.value("location.hash = '#rank'")
    tab.until("!document.getElementById('page-rank').hidden")
    tab.value(f"location.hash = '#machine?file={file}'")
    _was_played(tab, f"scenarios/{file}")


def _was_played(tab: Lab, words: str) -> None:
    """Wait until the run that is shown is that of a command."""
    tab.until(f"document.documentElement.dataset.played === {json.dumps(f'oomkit run {words}')}")


def test_a_policy_against_all_others(tab: Lab) -> None:
    _shows(tab, "database-and-leak.toml")
    tab.value("delete document.documentElement.dataset.against")
    tab.value("document.getElementById('against').click()")
    tab.until("document.documentElement.dataset.against === '8'")
    rows = tab.value(
        "[...document.querySelectorAll('#machine-policies tbody tr')]"
        ".map((row) => [...row.cells].map((one) => one.innerText))"
    )
    record = play(read_scenario(str(ROOT / "scenarios/database-and-leak.toml")),
                  policy=find_policy("earlyoom"))  # fmt: skip
    (early,) = (row for row in rows if row[0] == "earlyoom")
    assert early[3] == str(record.objectives.kills)
    tab.value(
        "[...document.querySelectorAll('#machine-policies button')]"
        ".find((one) => one.innerText === 'earlyoom').click()"
    )
    _was_played(tab, "scenarios/database-and-leak.toml --policy earlyoom")


def test_a_change_is_played_at_once_and_the_address_holds_it(tab: Lab) -> None:
    _shows(tab, "database-and-leak.toml")
    tab.value(_DRAG % ("getElementById('knob-machine.swap')", 999))
    _was_played(tab, "scenarios/database-and-leak.toml --set machine.swap=256G")
    assert "set=machine.swap%3D256G" in tab.value("location.hash")
    text = (ROOT / "scenarios/database-and-leak.toml").read_text()
    assert tab.value("document.getElementById('toml').value") == text.replace('"512M"', '"256G"')
    tab.value("document.getElementById('pin').click()")
    tab.until("document.querySelector('#machine-compare table')")
    tab.value("location.hash = '#machine?file=test2.toml&set=machine.ram=1G'")
    _was_played(tab, "scenarios/test2.toml --set machine.ram=1G")
    text = (ROOT / "scenarios/test2.toml").read_text()
    assert tab.value("document.getElementById('toml').value") == text.replace(
        'ram = "2G"', 'ram = "1G"'
    )


def test_a_wrong_scenario_names_its_faults_and_keeps_the_last_run(tab: Lab) -> None:
    _shows(tab, "test1.toml")
    tab.value(f"document.getElementById('toml').value = {json.dumps(_WRONG)}")
    tab.value("document.getElementById('toml').dispatchEvent(new Event('input'))")
    tab.until("document.querySelector('#faults li')")
    faults = tab.value("[...document.querySelectorAll('#faults li')].map((one) => one.textContent)")
    with pytest.raises(ScenarioError) as wrong:
        scenario_from(tomllib.loads(_WRONG))
    assert faults == list(wrong.value.lines())
    assert tab.value("document.querySelectorAll('#runs h2').length") == 1


def test_the_live_machine_is_ranked_and_a_dragged_adjustment_changes_the_victim(tab: Lab) -> None:
    tab.value("location.hash = '#rank'")
    tab.until("document.documentElement.dataset.ranked === '7'")
    assert "<b>x</b><i>[7]" in tab.value("document.getElementById('rank-html').innerText")
    assert not tab.value("document.querySelector('#rank-result b, #rank-result img')")
    tab.value(_DRAG % ("querySelector('#adjust tr[data-pid=\"8\"] input')", 600))
    tab.until("document.documentElement.dataset.ranked === '8'")
    command = tab.value("document.getElementById('rank-command').textContent")
    assert command == "oomkit rank --from here.json --set task.8.oom_score_adj=600"
    tab.value("document.querySelector('#adjust tr[data-pid=\"7\"] button').click()")
    tab.until("!document.getElementById('rank-why').hidden")


def test_a_dropped_snapshot_is_ranked(tab: Lab) -> None:
    tab.value("location.hash = '#rank'")
    text = (ROOT / "docs/examples/crowd.json").read_text()
    tab.value(_DROP % (json.dumps(text), "crowd.json"))
    tab.until("document.querySelector('#rank-command').textContent.includes('crowd.json')")
    assert tab.value("document.documentElement.dataset.ranked") == "905"
    assert "backup[905]" in tab.value("document.getElementById('adjust').innerText")


_DROP = """{
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([%s], "%s"));
  dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
}"""


def _goes_through(tab: Lab, snapshot: str, kernel: str) -> None:
    """Have a machine go through a kernel's functions."""
    tab.value("location.hash = '#mechanism'")
    tab.until("document.getElementById('kernel-version').max > 0")
    at = [row.rules.name for row in history()].index(kernel)
    tab.value(_DRAG % ("getElementById('kernel-version')", at))
    tab.value(_CHOOSE % ("mechanism-snapshot", snapshot))
    tab.until(f"document.getElementById('asker').dataset.of === '{snapshot}'")
    tab.until(f"document.documentElement.dataset.mechanism.startsWith('{kernel} ')")


def test_a_machine_walks_through_the_charts_of_any_version_in_two_languages(tab: Lab) -> None:
    _goes_through(tab, "crowd.json", "7.3")
    tab.until("document.documentElement.dataset.mechanism === '7.3 backup[905]'")
    tab.value(_DRAG % ("getElementById('kernel-version')", 0))
    tab.until("document.documentElement.dataset.mechanism === '2.6.11 cc1plus[1010]'")
    tab.value("document.getElementById('language').click()")
    assert tab.value("location.search") == "?lang=zh"
    page = "document.getElementById('page-mechanism')"
    tab.until("document.getElementById('step-text').innerText.includes('没有')")
    assert "杀死" in tab.value("document.getElementById('flow').innerText")
    # All of the page's own words: what is English is marked so, or a name.
    assert tab.value(_LATIN % page) == []
    while tab.value("!document.getElementById('step-on').disabled"):
        tab.value("document.getElementById('step-on').click()")
        assert tab.value(_LATIN % page) == []
    assert tab.value("document.querySelector('#flow .now').innerText") == "SIGKILL"
    assert "发送 SIGKILL" in tab.value("document.getElementById('step-text').innerText")
    tab.value("document.querySelector('#experiments button').click()")
    tab.until("document.querySelector('#experiment .events')")
    assert "内核杀死 depmod" in tab.value("document.querySelector('#experiment').textContent")
    assert tab.value(_LATIN % page) == []
    tab.value("document.getElementById('language').click()")


def test_a_run_is_told_in_chinese(tab: Lab) -> None:
    tab.value("document.getElementById('language').click()")
    try:
        _shows(tab, "container-at-limit.toml")
        shown = tab.value("document.getElementById('runs').textContent")
        assert "cgroup /web 已达限额" in shown
        assert "向 worker[101] 发送 SIGKILL" in shown
        assert tab.value(_LATIN % "document.getElementById('runs')") == []
    finally:
        tab.value("document.getElementById('language').click()")


_LATIN = """(() => {
  const found = [];
  const walker = document.createTreeWalker(%s, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { parentElement: place, data } = walker.currentNode;
    if (place.closest("[lang=en], code, #spans, option, button[data-knob], .switch li")) continue;
    if (/^[^\u4e00-\u9fff]*[a-z]{3,} [a-z]{3,}/.test(data)) found.push(data);
  }
  return found;
})()"""


def test_a_memory_cgroup_at_its_limit_and_each_knob(tab: Lab) -> None:
    _goes_through(tab, "node.json", "7.3")
    tab.value(_CHOOSE % ("mechanism-memcg", "/kubepods.slice"))
    tab.until(
        "document.getElementById('outcome').innerText.startsWith('/kubepods.slice would lose')"
    )
    assert "try_charge_memcg()" in tab.value("document.getElementById('flow').innerText")
    knob = "document.querySelector('[data-knob=\"vm.panic_on_oom=2\"]')"
    assert tab.value(f"{knob}.nextSibling.innerText") == "panic"
    tab.value(f"{knob}.click()")
    tab.until("document.getElementById('outcome').innerText.includes('panics')")
    assert tab.value(f"{knob}.ariaPressed") == "true"


_CHOOSE = """{
  const list = document.getElementById("%s");
  list.value = "%s";
  list.dispatchEvent(new Event("change"));
}"""


def test_an_experiment_plays_in_place(tab: Lab) -> None:
    """Still where less motion is asked for: a slider takes one through its time."""
    tab.value("location.hash = '#mechanism'")
    tab.value("document.querySelector('#experiments button').click()")
    tab.until("document.documentElement.dataset.experiment === 'test1.toml'")
    shown = "document.querySelectorAll('#experiment .events li:not([hidden])').length"
    whole = tab.value(shown)
    assert whole > 10
    tab.value(_DRAG % ("querySelector('#experiment input')", 250))
    assert 0 < tab.value(shown) < whole
    cover = tab.value("+document.querySelector('#experiment .cover').getAttribute('width')")
    assert cover > 400


@pytest.mark.parametrize(("width", "dark"), [(400, True), (1300, False)])
def test_nothing_overflows_and_axe_finds_nothing(width: int, *, dark: bool) -> None:
    needs_site()
    if not AXE.exists():
        pytest.skip("needs axe-core (make site)")
    ready = {
        "#explain": "document.querySelector('#log-examples button')",
        "#machine?file=container-at-limit.toml": "document.querySelector('#runs h2')",
        "#rank": "document.documentElement.dataset.ranked",
        "#mechanism": "document.querySelector('#flow .now + *, #strip svg')",
    }
    found = []
    with lab(_machine(), width=width, dark=dark) as opened:
        opened.value(AXE.read_text() + ";0")
        opened.value("document.querySelector('#log-examples button').click()")
        opened.until("document.documentElement.dataset.explained")
        opened.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        opened.until("document.querySelector('.sortable') && document.querySelector('.loglines')")
        for page, condition in ready.items():
            opened.value(f"location.hash = '{page}'")
            opened.until(condition)
            if "machine" in page:
                opened.value("document.getElementById('against').click()")
                opened.until("document.documentElement.dataset.against === '8'")
            if "mechanism" in page:
                opened.value("document.querySelector('#experiments button').click()")
                opened.until("document.documentElement.dataset.experiment")
                opened.value("document.getElementById('language').click()")
            seen = opened.value("document.documentElement.scrollWidth")
            if seen > width:
                found.append(f"{page}: {seen} wide")
            found += opened.value(_BROKEN)
        found += opened.complaints()
    assert found == []


_BROKEN = """(async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  const where = (one) => one.nodes.map((node) => node.html.slice(0, 120)).join(" | ");
  return violations.map((one) => `${location.hash} ${one.id}: ${where(one)}`);
})()"""


def test_the_console_stays_empty_and_no_other_host_is_asked(tab: Lab) -> None:
    """After all that the tests before have shown."""
    assert tab.complaints() == []
