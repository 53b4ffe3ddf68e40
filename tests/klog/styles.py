"""The ways in which loggers, consoles, containers and people wrap the kernel's lines."""

import json
import quopri
import re
import textwrap
from collections.abc import Callable, Iterable

Style = Callable[[list[str]], str]


def _each(form: Callable[[int, str], str]) -> Style:
    return lambda lines: "".join(form(i, line) + "\n" for i, line in enumerate(lines))


def _same(before: str = "", after: str = "") -> Style:
    return lambda lines: "".join(f"{before}{line}{after}\n" for line in lines)


def _printk(i: int) -> str:
    return f"[{4711 + i // 1000:5}.{i % 1000 * 7:06}]"


def _stamped(lines: Iterable[str]) -> list[str]:
    return [f"{_printk(i)} {line}" for i, line in enumerate(lines)]


def _json_journal(i: int, line: str) -> str:
    return json.dumps(
        {
            "_TRANSPORT": "kernel",
            "SYSLOG_IDENTIFIER": "kernel",
            "_HOSTNAME": "host",
            "__REALTIME_TIMESTAMP": str(1_700_000_000_000_000 + i),
            "_SOURCE_MONOTONIC_TIMESTAMP": str(4_711_000_000 + i),
            "MESSAGE": line,
        }
    )


def _export(i: int, line: str) -> str:
    return (
        f"__CURSOR=s=abc;i={i}\n__REALTIME_TIMESTAMP={1_700_000_000_000_000 + i}\n"
        f"_BOOT_ID=1\n_TRANSPORT=kernel\nMESSAGE={line}\nPRIORITY=4\nSYSLOG_IDENTIFIER=kernel\n"
        f"_HOSTNAME=host\n_SOURCE_MONOTONIC_TIMESTAMP={4_711_000_000 + i}\n"
    )


def _mailed(lines: list[str]) -> str:
    wrapped = []
    for line in _stamped(lines):
        wrapped += textwrap.wrap(line, 72, break_long_words=False, break_on_hyphens=False) or [""]
    return "\n".join(wrapped) + "\n"


def _cut_80(lines: list[str]) -> str:
    pieces = []
    for line in _stamped(lines):
        pieces += [line[i : i + 80] for i in range(0, len(line), 80)]
    return "\n".join(pieces) + "\n"


STYLES: dict[str, Style] = {
    "bare": _same(),
    "dmesg": _each(lambda i, line: f"{_printk(i)} {line}"),
    "dmesg -T": _each(lambda i, line: f"[Thu Jan  4 10:00:{i % 60:02} 2024] {line}"),
    "dmesg -x": _each(lambda i, line: f"kern  :warn  : {_printk(i)} {line}"),
    "dmesg -d": _each(lambda i, line: f"[{4711 + i:5}.000000 <    0.000003>] {line}"),
    "dmesg iso": _each(lambda i, line: f"2024-01-04T10:00:{i % 60:02},{i:06}+01:00 {line}"),
    "levels": _each(lambda i, line: f"<4>{_printk(i)} {line}"),
    "caller ids": _each(lambda i, line: f"{_printk(i)}[ T4711] {line}"),
    "android": _each(lambda i, line: f"<4>{_printk(i)} c0   4711 {line}"),
    "syslog": _each(lambda i, line: f"Jun  7 10:00:{i % 60:02} web-01 kernel: {line}"),
    "syslog and stamp": _each(
        lambda i, line: f"Jun 17 10:00:{i % 60:02} web-01 kernel: {_printk(i)} {line}"
    ),
    "syslog iso": _each(
        lambda i, line: f"2024-01-04T10:00:{i % 60:02}.{i:06}+01:00 web.example.org kernel: {line}"
    ),
    "rfc 5424": _each(lambda i, line: f"<4>1 2024-01-04T10:00:00.{i:06}Z web kernel - - - {line}"),
    "busybox": _each(lambda i, line: f"Jan  4 10:00:00 box kern.warn kernel: {_printk(i)} {line}"),
    "openwrt": _each(
        lambda i, line: f"Thu Jan  4 10:00:00 2024 kern.warn kernel: {_printk(i)} {line}"
    ),
    "journal monotonic": _each(lambda i, line: f"{_printk(i)} web-01 kernel: {line}"),
    "journal json": _each(_json_journal),
    "journal export": _each(_export),
    "docker": _each(
        lambda i, line: json.dumps(
            {"log": f"{_printk(i)} {line}\n", "stream": "stdout", "time": "2024-01-04T10:00:00Z"}
        )
    ),
    "kubernetes": _each(
        lambda i, line: f"2024-01-04T10:00:00.{i:09}Z stdout F {_printk(i)} {line}"
    ),
    "kubernetes bare": _each(lambda i, line: f"2024-01-04T10:00:00.{i:09}Z stderr F {line}"),
    "minicom": _each(lambda i, line: f"[2024-01-04 10:00:{i % 60:02}] {_printk(i)} {line}"),
    "grep -H": _same("/var/log/messages-1:Jun  7 10:00:00 web kernel: "),
    "quoted": _each(lambda i, line: f"> > {_printk(i)} {line}"),
    "quoted bare": _same("> "),
    "indented": _each(lambda i, line: f"    {_printk(i)} {line}"),
    "carriage returns": _each(lambda i, line: f"{_printk(i)} {line}\r"),
    "colours": _each(lambda i, line: f"\x1b[32m{_printk(i)} \x1b[0m\x1b[33m{line}\x1b[0m"),
    "html": _each(
        lambda i, line: f"{_printk(i)} {line.replace('<', '&lt;').replace('>', '&gt;')}<br />"
    ),
    "blank lines": _each(lambda i, line: f"{_printk(i)} {line}\n"),
    "blank lines bare": _same(after="\n"),
    "mailed": _mailed,
    "cut at 80": _cut_80,
    "one line": lambda lines: "".join(_stamped(lines)) + "\n",
    "rsyslog": lambda lines: "Jun  7 10:00:00 web kernel: " + "#012".join(lines) + "\n",
    "dmesg -T in French": _each(lambda i, line: f"[dim. 19 avril 18:03:{i % 60:02} 2026] {line}"),
    "dmesg -T in Chinese": _each(lambda i, line: f"[四 3月 18 18:47:{i % 60:02} 2021] {line}"),
    "kmsg": _each(lambda i, line: f"4,{i},{4_711_000_000 + i},-,caller=T4711;{line}"),
    "talos": _each(lambda i, line: f"kern: warning: [2026-01-12T20:27:{i % 60:02}.913Z]: {line}"),
    "television": _each(lambda i, line: f"[2-{4711 + i / 1e4:.4f}] {line}"),
    "phone": _each(lambda i, line: f"<4>{_printk(i)}  [0:        kswapd0:   45] {line}"),
    "appliance": _each(
        lambda i, line: f"Jan  4 10:00:{i % 60:02} slot1/lb1 warning kernel: {line}"
    ),
    "compose": _same("web-1  | "),
    "clock": _each(lambda i, line: f"10:00:{i % 60:02} {line}"),
    "numbered": _each(lambda i, line: f"{i + 1:6}\t{line}"),
    "fluentd": _each(
        lambda i, line: (
            f"2024-01-04 10:00:{i % 60:02} +0000 kernel: {json.dumps({'message': line})}"
        )
    ),
    "csv": _each(lambda i, line: f'"2024-01-04T10:00:00.000Z","web","{_printk(i)} {line}"'),
    "journal verbose": _each(
        lambda i, line: (
            f"Thu 2024-01-04 10:00:00.{i:06} CET [s=abc;i={i};b=1;m=2;t=3;x=4]\n"
            f"    _TRANSPORT=kernel\n    _HOSTNAME=host\n    MESSAGE={line}"
        )
    ),
    "journal json pretty": lambda lines: "".join(
        json.dumps(json.loads(_json_journal(i, line)), indent="\t") + "\n"
        for i, line in enumerate(lines)
    ),
    "journal json array": lambda lines: (
        "[" + ",\n".join(_json_journal(i, line) for i, line in enumerate(lines)) + "]\n"
    ),
    "raw mail": lambda lines: quopri.encodestring("\n".join(_stamped(lines)).encode()).decode(),
    "mark-up": lambda lines: "<br>".join(_stamped(lines)) + "\n",
    "markdown table": _each(lambda i, line: f"| {_printk(i)} {line} |"),
    "markdown code": _each(lambda i, line: f"`{_printk(i)} {line}`"),
    "markdown escapes": _each(
        lambda i, line: re.sub(r"([_*\[\]])", r"\\\1", f"{_printk(i)} {line}")
    ),
    "numeric entities": _each(
        lambda i, line: f"{_printk(i)} {line}".replace("=", "&#61;").replace("/", "&#x2F;")
    ),
    "list of strings": lambda lines: json.dumps(_stamped(lines)) + "\n",
    "python's list of strings": lambda lines: f"{lines!r}\n",
    "python's literals": _each(lambda i, line: f"    {f'{_printk(i)} {line}' + chr(10)!r}"),
    "record in a record": _each(
        lambda i, line: json.dumps({"message": json.dumps({"log": f"{_printk(i)} {line}"})})
    ),
    "page's source": lambda lines: json.dumps({"body": "\r\n".join(_stamped(lines))}) + "\n",
    "console output": lambda lines: (
        json.dumps({"InstanceId": "i", "Output": "\r\n".join(_stamped(lines))}, indent=4) + "\n"
    ),
    "insights": lambda lines: (
        json.dumps(
            {
                "results": [
                    [
                        {"field": "@timestamp", "value": "2024-01-04 10:00:00.000"},
                        {"field": "@message", "value": line},
                    ]
                    for line in _stamped(lines)
                ]
            },
            indent=1,
        )
        + "\n"
    ),
    "rows of a panel": _each(
        lambda i, line: (
            f'1704358800000,"2024-01-04 10:00:00","{_printk(i)} {line}","{{""job"":""k""}}"'
        )
    ),
    "rows of a search": _each(
        lambda i, line: (
            f'"{_printk(i)} {line}","2024-01-04T10:00:{i % 60:02}.000+0100",web,messages'
        )
    ),
    "rows with a date in words": _each(
        lambda i, line: f'"Jan 4, 2024 @ 10:00:00.{i % 1000:03}","web","{_printk(i)} {line}"'
    ),
    "other messages": _each(
        lambda i, line: (
            f"{_printk(i)} {line}\n{_printk(i)} usb 1-1: new high-speed USB device number {i}"
        )
    ),
}
