"""What oomkit writes, in Chinese: steps of a decision, what happened in a run, its figures.

A sentence is a form with places for values: ``{}`` takes any text, ``{n}`` a whole number, and
``{t}`` a part that is itself a sentence of the catalogue. Messages of the kernel stay as it logs
them, and so do names.
"""

import re
from functools import cache
from typing import Any, Final

_SENTENCES: Final[dict[str, str]] = {
    # The request (kernel/alloc.py).
    "no page": "没有得到页",
    "SysRq-f asks for a kill": "SysRq-f 要求杀一个进程",
    "still no page above the high watermark; calls out_of_memory": "高水位之上仍没有页；调用 out_of_memory",
    "__GFP_NORETRY: the request fails": "__GFP_NORETRY：请求失败",
    "no __GFP_FS: no kill; small requests are tried again for ever": "没有 __GFP_FS：不杀进程；小请求无限重试",
    "no __GFP_FS: no kill; the request loops": "没有 __GFP_FS：不杀进程；请求循环重试",
    "order {} is more than 3: the request fails": "order {} 大于 3：请求失败",
    "order {} is more than {}: no kill": "order {} 大于 {}：不杀进程",
    "oom_killer_disabled is set: the request fails without a kill": "oom_killer_disabled 已设置：请求失败，不杀进程",
    "only zones below NORMAL will do: killing would not help": "只能用 NORMAL 以下的区：杀进程也没有用",
    "__GFP_THISNODE: the caller can fall back to another node": "__GFP_THISNODE：调用者可以改用其他节点",
    "the asker is dumping core: no kill": "请求者正在转储 core：不杀进程",
    "__GFP_RETRY_MAYFAIL: the request fails without a kill": "__GFP_RETRY_MAYFAIL：请求失败，不杀进程",
    "{} of {} free pages taken, above the low watermark": "取走 {} 页（空闲 {} 页），在低水位之上",
    "{} pages found {t}": "得到 {} 页，{t}",
    "above the min watermark": "在最低水位之上",
    "after reclaim (up to {} pages)": "在回收之后（至多 {} 页）",
    # A charge to a memory cgroup (kernel/alloc.py).
    "{} is at its limit and reclaim found nothing": "{} 已达限额，回收没有得到内存",
    "the allocating task is a victim whose memory was reaped: the charge fails": "请求者是内存已被回收的被杀者：记账失败",
    "__GFP_NORETRY: the charge fails": "__GFP_NORETRY：记账失败",
    "order {} is more than 3: the charge fails": "order {} 大于 3：记账失败",
    "outside a page fault: the charge fails with ENOMEM": "不在缺页中：记账以 ENOMEM 失败",
    "oom_kill_disable is set: the asker sleeps until memory comes": "oom_kill_disable 已设置：请求者睡眠，直到有内存",
    "oom_kill_disable is set: the charge fails with ENOMEM": "oom_kill_disable 已设置：记账以 ENOMEM 失败",
    "the kill is done as the page fault ends": "缺页结束时才杀进程",
    "calls on": "继续调用",
    # The decision (kernel/out_of_memory.py).
    "panic: {}": "内核 panic：{}",
    "warning: {}": "警告：{}",
    "the fault is tried again; no process is killed": "重试缺页；不杀进程",
    "init is not killed; the fault is tried again": "不杀 init；重试缺页",
    "{} has no memory; no process is killed": "{} 没有内存；不杀进程",
    "calls __out_of_memory": "调用 __out_of_memory",
    "calls out_of_memory for the whole machine": "为整机调用 out_of_memory",
    "CONSTRAINT_{} ({t})": "CONSTRAINT_{}（范围：{t}）",
    "CONSTRAINT_{} ({t}), totalpages {}": "CONSTRAINT_{}（范围：{t}），totalpages {}",
    "global": "全局",
    "memcg": "内存 cgroup",
    "cpuset": "cpuset",
    "mempolicy": "内存策略",
    "sysrq": "SysRq",
    "overcommit_memory is 2: the allocating task is killed": "overcommit_memory 为 2：杀死请求者",
    "overcommit_memory is {}: on to __out_of_memory": "overcommit_memory 为 {}：进入 __out_of_memory",
    "the allocating task, which is not in the snapshot, is killed": "杀死请求者（不在快照中）",
    "oom_killer_disabled is set: no process is killed": "oom_killer_disabled 已设置：不杀进程",
    "{} asks and is dying: it gets access to reserves": "请求者 {} 正在死：它得到保留内存",
    "no __GFP_FS: no process is killed, the request loops": "没有 __GFP_FS：不杀进程，请求循环重试",
    "panic_on_oom is 1, but this OOM is confined: no panic": "panic_on_oom 为 1，但这次 OOM 范围受限：不 panic",
    "set, but the allocating task is not in the snapshot; the scan follows": "已设置，但请求者不在快照中；接着扫描",
    "set, but {} can't be killed ({t})": "已设置，但不能杀 {}（{t}）",
    "set: the allocating task {} is killed": "已设置：杀死请求者 {}",
    "oom_kill_allocating_task is set: the allocating task {} is killed": "oom_kill_allocating_task 已设置：杀死请求者 {}",
    "the allocating task {} is killed": "杀死请求者 {}",
    "livelock: selects {} repeatedly, and the machine hangs": "活锁：反复选中 {}，机器挂起",
    "no killable process in the memory cgroup; the charge fails": "内存 cgroup 中没有可杀的进程；记账失败",
    "no killable process; SysRq never panics": "没有可杀的进程；SysRq 从不 panic",
    # Why a task is passed over (kernel/badness.py, kernel/out_of_memory.py).
    "no memory": "没有内存",
    "has no memory (exited)": "没有内存（已退出）",
    "oom_adj -17": "oom_adj 为 -17",
    "oom_score_adj -1000": "oom_score_adj 为 -1000",
    "shares memory with a task at oom_score_adj -1000": "与 oom_score_adj 为 -1000 的进程共享内存",
    "its memory was already reaped": "它的内存已被回收",
    "vfork child that borrows its parent's memory": "借用父进程内存的 vfork 子进程",
    "is exiting, so a memory cgroup's OOM killer does not meet it": "正在退出，内存 cgroup 的 OOM killer 看不到它",
    "global init": "全局 init",
    "kernel thread": "内核线程",
    "not in memory cgroup {}": "不在内存 cgroup {} 中",
    "none of its memory nodes would help": "它的内存节点都帮不上忙",
    # The scan (kernel/select.py).
    "{} is already dying; wait for its memory": "{} 已在死；等待它的内存",
    "no process can be killed": "没有可杀的进程",
    "{} asked to be killed first (swapoff or KSM)": "{} 要求先被杀（swapoff 或 KSM）",
    "asked to be killed first (swapoff or KSM)": "要求先被杀（swapoff 或 KSM）",
    "{} is exiting anyway": "{} 本来就在退出",
    "is exiting anyway": "本来就在退出",
    "{} has the highest badness, {}": "{} 的 badness 最高，为 {}",
    # The kill (kernel/kill.py).
    "{} is exiting; it only gets access to reserves": "{} 正在退出；只让它得到保留内存",
    "would_have_oomkilled is set: {} would have been killed, but lives": "would_have_oomkilled 已设置：{} 本会被杀，但存活",
    "would_have_oomkilled is 1: would have killed {}, which lives": "would_have_oomkilled 为 1：本会杀死 {}，它存活",
    "{}, a child of {}, goes first": "{} 是 {} 的子进程，先死",
    "{}, the worst child of {}, goes first": "{} 是 {} 最坏的子进程，先死",
    "{} has no child to sacrifice": "{} 没有可牺牲的子进程",
    "{} (badness {}) is the worst child of {} and is sacrificed instead": "{}（badness {}）是 {} 最坏的子进程，代替它牺牲",
    "{} shares its memory and dies with it": "{} 与它共享内存，一起死",
    "memory.oom.group is set on {}: all of its tasks die": "{} 设置了 memory.oom.group：其中所有进程一起死",
    "SIGKILL to {}, which frees {} pages": "向 {} 发送 SIGKILL，释放 {} 页",
    "{} has no memory": "{} 没有内存",
    "{} has oom_adj -17": "{} 的 oom_adj 为 -17",
    "{} shares the memory of {} and has oom_adj -17": "{} 与 {} 共享内存，且 oom_adj 为 -17",
    "{} have the same badness; their order in the list decides": "{} 的 badness 相同；由列表中的次序决定",
    "{t} (a tie; the order of the list decides)": "{t}（并列；由列表的次序决定）",
    # What happened in a run (views/run_events.py).
    "{n} {} start": "{n} 个 {} 启动",
    "{n} {} start, the last at {}": "{n} 个 {} 启动，最后一个在 {}",
    "{} starts": "{} 启动",
    "{} ends": "{} 结束",
    "{n} of {n} {} have ended": "{n} 个（共 {n} 个）{} 已结束",
    "{n} of {n} {} have ended, the first at {}": "{n} 个（共 {n} 个）{} 已结束，第一个在 {}",
    "low memory: {} of {} available": "内存不足：可用 {}，共 {}",
    "tasks' memory begins to go to swap": "进程的内存开始换出",
    "swap is full ({})": "swap 已满（{}）",
    "afterwards some of it comes free once": "之后有一次腾出一些",
    "afterwards some of it comes free {} times": "之后有 {} 次腾出一些",
    "tasks wait for memory: PSI some avg10 {}": "进程等待内存：PSI some avg10 {}",
    "nearly nothing moves: PSI full avg10 {}": "几乎停滞：PSI full avg10 {}",
    "every task ended, or holds what it has for ever": "所有进程已结束，或一直占着内存",
    "every task ended": "所有进程已结束",
    "the kernel panicked": "内核 panic",
    "the machine is unusable and stays so": "机器不可用，且不再恢复",
    "the scenario's duration is over, and tasks are still at work": "场景时间已到，仍有进程在工作",
    "(the log's clock began {} before the run)": "（日志的时钟在运行前 {} 开始）",
    "(the log's clock counts from the kernel's boot)": "（日志的时钟从内核启动算起）",
    "the kernel kills {}": "内核杀死 {}",
    "the kernel kills {}: cgroup {} is at its limit": "内核杀死 {}：cgroup {} 已达限额",
    "the kernel would have killed {}, which lives": "内核本会杀死 {}，它存活",
    "the kernel would have killed {}, which lives: cgroup {} is at its limit": "内核本会杀死 {}，它存活：cgroup {} 已达限额",
    "{} kills {}": "{} 杀死 {}",
    "{} kills {}: cgroup {} is at its limit": "{} 杀死 {}：cgroup {} 已达限额",
    "{} would have killed {}, which lives": "{} 本会杀死 {}，它存活",
    "{} would have killed {}, which lives: cgroup {} is at its limit": "{} 本会杀死 {}，它存活：cgroup {} 已达限额",
    "{} of {} by {} fails": "{}（{}）失败，调用者 {}",
    "the policy {t}": "策略{t}",
    "the policy {t}, because of {}": "策略{t}，因为 {}",
    "reclaims {} of {}": "从 {1} 回收 {0}",
    "slows {} down above {}, for {}": "让 {} 超过 {} 后变慢，历时 {}",
    "has {} stand still, for {}": "让 {} 停住，历时 {}",
    "{n} shorter freezes until {}, {} in all": "另有 {n} 次较短的卡死，直到 {}，共 {}",
    "the machine freezes for {}, until the end": "机器卡死 {}，直到最后",
    "the machine freezes for {}, until {}": "机器卡死 {}，直到 {}",
    "a small program that takes 10 ms takes over 1 s": "平时 10 ms 的小程序用了 1 s 以上",
    "the scenario sets {}": "场景设置 {}",
    "and {n} more {} until {}, which frees {}": "另有 {n} 个 {}，直到 {}，释放 {}",
    "and {n} more kill until {}": "另有 {n} 次杀死，直到 {}",
    "and {n} more kills until {}": "另有 {n} 次杀死，直到 {}",
    "and {n} more would-have kill until {}": "另有 {n} 次本会杀死，直到 {}",
    "and {n} more would-have kills until {}": "另有 {n} 次本会杀死，直到 {}",
    "and {n} more refusal until {}": "另有 {n} 次拒绝，直到 {}",
    "and {n} more refusals until {}": "另有 {n} 次拒绝，直到 {}",
    # Why it was this task (views/kill_reasons.py, views/run_chart_rows.py).
    "badness not computed": "未计算 badness",
    "badness {} pages ({})": "badness {} 页（{}）",
    "badness {} of 1000": "badness 千分之 {}",
    "badness {} points": "badness {} 分",
    "{} pages ({})": "{} 页（{}）",
    "{} of 1000": "千分之 {}",
    "{} points": "{} 分",
    "not computed": "未计算",
    "oom_score_adj {}": "oom_score_adj {}",
    "would have freed {}": "本会释放 {}",
    "lives": "存活",
    "frees {}": "释放 {}",
    "loses {} of CPU work": "损失 {} 的 CPU 工作",
    "chosen by {}; no trace was recorded": "由 {} 选中；没有记录过程",
    "killed": "被杀",
    "would have killed": "本会杀死",
    "killed by {}": "被 {} 杀死",
    "would have killed by {}": "本会被 {} 杀死",
    # How a run ended, and its figures (views/run_text.py).
    "completed": "已完成",
    "timed out": "超时",
    "frozen": "卡死",
    "panicked": "内核 panic",
    "tasks that died": "死去的进程",
    "memory their deaths gave back": "它们死后交还的内存",
    "CPU time of theirs that is thrown away": "它们白费的 CPU 时间",
    "victims that were not growing, or marked so": "没有在增长（或标为无辜）的被杀者",
    "how long the machine was unusable": "机器不可用的时间",
    "must be 0": "必须为 0",
    # The founding text's experiments (scenarios/).
    "twenty depmod on 2 GB, OOM killer on": "2 GB 内存上的二十个 depmod，OOM killer 开启",
    "twenty depmod on 2 GB and 2 GB swap, OOM killer off": "2 GB 内存加 2 GB swap 上的二十个 depmod，OOM killer 关闭",
    "twenty depmod on 2 GB, OOM killer off": "2 GB 内存上的二十个 depmod，OOM killer 关闭",
}  # fmt: skip

_PLACE = re.compile(r"\{[tn0-9]?\}")
_STEP = re.compile(r"([a-z0-9]*_[a-z0-9_]*|tie): (.+)", re.DOTALL)
"""A function of the kernel, and what it did."""

_ANY = {"{n}": r"(\d+)"}


class _Form:
    """A sentence with places for values, and what it is in Chinese."""

    def __init__(self, english: str, chinese: str) -> None:
        self.places = _PLACE.findall(english)
        pieces = [re.escape(piece) for piece in _PLACE.split(english)]
        groups = [_ANY.get(place, "(.+?)") for place in self.places] + [""]
        self.pattern = re.compile(
            "".join(a + b for a, b in zip(pieces, groups, strict=True)), re.DOTALL
        )
        self.pieces = _PLACE.split(chinese)
        self.order = [
            int(place[1]) if place[1].isdigit() else i
            for i, place in enumerate(_PLACE.findall(chinese))
        ]

    def filled(self, text: str) -> str | None:
        """The sentence in Chinese; None: the text is not of this form."""
        found = self.pattern.fullmatch(text)
        if found is None:
            return None
        values = list(found.groups())
        for i, place in enumerate(self.places):
            if place == "{t}":
                part = in_chinese(values[i])
                if part is None:
                    return None
                values[i] = part
        filled = [values[i] for i in self.order] + [""]
        return "".join(a + b for a, b in zip(self.pieces, filled, strict=True))


@cache
def _forms() -> list[_Form]:
    """The sentences that hold values; those that say most first."""
    with_places = [one for one in _SENTENCES.items() if _PLACE.search(one[0])]
    with_places.sort(key=lambda one: -len(_PLACE.sub("", one[0])))
    return [_Form(english, chinese) for english, chinese in with_places]


def sentences() -> dict[str, str]:
    """The catalogue: English forms with their Chinese ones."""
    return dict(_SENTENCES)


def in_chinese(text: str) -> str | None:
    """Translate a sentence, a step of a trace (``function: what``), or parts joined by ``;``.

    Returns:
        None where the catalogue has no such sentence.
    """
    whole = _SENTENCES.get(text)
    if whole is not None:
        return whole
    parts = text.split("; ")
    if len(parts) > 1:
        each = [in_chinese(part) for part in parts]
        known = [part for part in each if part is not None]
        if len(known) == len(each):
            return "；".join(known)
    step = _STEP.fullmatch(text)
    if step is not None:
        said = in_chinese(step[2])
        if said is not None:
            return f"{step[1]}：{said}"
    for form in _forms():
        filled = form.filled(text)
        if filled is not None:
            return filled
    return None


def spoken(value: Any, language: str) -> Any:
    """A text, or the texts of a list, in a language; English where there is no Chinese.

    Args:
        value: what oomkit wrote.
        language: ``en`` or ``zh``.
    """
    if language != "zh":
        return value
    if isinstance(value, str):
        return in_chinese(value) or value
    return [spoken(one, language) for one in value]
