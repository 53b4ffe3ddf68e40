"""The per-second view of a run, like ``free -m -s 1``."""

from collections.abc import Iterator

from oomkit.scenario.record import Run

_HEADS = ("t_s", "total", "used", "free", "cached", "available", "swap", "used", "free")


def free_table(run: Run, *, total_mb: float, swap_mb: float) -> Iterator[str]:
    """Yield a heading and one line a sample; MB.

    Args:
        run: the record of a run.
        total_mb: MemTotal.
        swap_mb: SwapTotal at the start.
    """
    yield f"{'':9}  {'Mem':>9}{'':36}  {'Swap':>9}".rstrip()
    yield "  ".join(f"{head:>9}" for head in _HEADS)
    samples = run.samples
    rows = zip(
        samples.t_s,
        samples.free_mb,
        samples.cached_mb,
        samples.available_mb,
        samples.swap_free_mb,
        strict=True,
    )
    for t_s, free, cached, available, swap_free in rows:
        swap = max(swap_mb, swap_free)
        numbers: tuple[float, ...] = (total_mb, total_mb - free - cached, free, cached, available)
        numbers = (*numbers, swap, swap - swap_free, swap_free)
        yield "  ".join((f"{t_s:>9g}", *(f"{number:>9.0f}" for number in numbers)))
