"""Rates over a window, from totals that are looked at now and then."""

from math import exp


class History:
    """Looks back over the readings of the last seconds.

    Args:
        longest_s: the longest window that will be asked for.
        shortest_s: the shortest one; readings much closer than that are not all kept.
    """

    __slots__ = ("_known", "_longest_s", "_moments", "_spacing_s")

    def __init__(self, longest_s: float, shortest_s: float) -> None:
        self._longest_s = longest_s
        self._spacing_s = shortest_s / 16.0
        self._moments: list[tuple[float, dict[str, float | None]]] = []
        self._known: dict[tuple[str, float], float | None] = {}
        """Rates since the last moment: one look asks for each several times."""

    def add(self, t_s: float, totals: dict[str, float | None]) -> None:
        """Take in the totals of a moment; the dictionary is kept."""
        self._known.clear()
        moments = self._moments
        if moments and t_s < moments[-1][0]:
            moments.clear()
        if len(moments) > 1 and t_s - moments[-2][0] < self._spacing_s:
            moments.pop()
        moments.append((t_s, totals))
        old = t_s - self._longest_s
        while len(moments) > 2 and moments[1][0] <= old:
            del moments[0]

    def clear(self) -> None:
        """Begin again: what came before does not count."""
        self._known.clear()
        del self._moments[:-1]

    def rate(self, key: str, window_s: float) -> float | None:
        """Increase a second over the last ``window_s`` seconds.

        Where the window begins between two readings the larger of two estimates counts: the
        increase inside the window, which is never too much, and the mean since the reading
        before it. Before the first reading there was nothing.

        Returns:
            None where the total is not known now or was not then.
        """
        asked = (key, window_s)
        if asked not in self._known:
            self._known[asked] = self._rate(key, window_s)
        return self._known[asked]

    def _rate(self, key: str, window_s: float) -> float | None:
        if not self._moments:
            return None
        now_s, totals = self._moments[-1]
        now = totals.get(key)
        if now is None:
            return None
        before = inside = None
        for t_s, then in self._moments:
            total = then.get(key)
            if total is None:
                continue  # not everything is known of each moment
            if t_s <= now_s - window_s:
                before = (t_s, total)
            else:
                inside = total
                break
        if inside is None:
            return None
        rate = max(now - inside, 0.0) / window_s
        if before is not None:
            rate = max(rate, (now - before[1]) / (now_s - before[0]))
        return rate

    def decaying_rate(self, key: str, time_s: float) -> float | None:
        """Increase a second, where what came before counts the less the longer ago it was.

        Args:
            key: of the total.
            time_s: after so long it counts 1/e.

        Returns:
            None where the total is not known now.
        """
        if not self._moments or self._moments[-1][1].get(key) is None:
            return None
        now_s = self._moments[-1][0]
        rate = before = before_s = weight_before = 0.0
        begun = False
        for t_s, then in self._moments:
            total = then.get(key)
            if total is None:
                continue
            weight = exp((t_s - now_s) / time_s)
            if begun and t_s > before_s:
                gained = max(total - before, 0.0)
                rate += gained / (t_s - before_s) * (weight - weight_before)
            before, before_s, weight_before, begun = total, t_s, weight, True
        return rate

    def change(self, key: str, window_s: float) -> float | None:
        """Mean change a second since the reading at the begin of the window, up or down.

        Returns:
            None where fewer than two readings know the total.
        """
        if len(self._moments) < 2:
            return None
        now_s, totals = self._moments[-1]
        now = totals.get(key)
        chosen = self._moments[0]
        for moment in self._moments[:-1]:
            if moment[0] > now_s - window_s and chosen[0] < moment[0]:
                break
            chosen = moment
        then = chosen[1].get(key)
        if now is None or then is None or chosen[0] >= now_s:
            return None
        return (now - then) / (now_s - chosen[0])
