"""Means, shares and how far they can be trusted."""

import math
from statistics import NormalDist

import msgspec

_Z = NormalDist().inv_cdf(0.975)


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """A mean with its 95 % interval.

    Attributes:
        mean: the mean.
        low: lower end of the interval.
        high: upper end.
        n: how many values it is of.
    """

    mean: float
    low: float
    high: float
    n: int


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A count of successes, with the 95 % interval of their share.

    Attributes:
        k: how many.
        n: of how many.
        low: lower end of the interval.
        high: upper end.
    """

    k: int
    n: int
    low: float
    high: float


def mean_of(n: int, mean: float, deviation: float) -> Mean:
    """A mean from its count and the sample's standard deviation, by Student's t.

    Rounded to what does not depend on the order in which the values were added up.
    """
    half = t_quantile(n - 1) * deviation / math.sqrt(n) if n > 1 else 0.0
    low, middle, high = (round(value, 6) for value in (mean - half, mean, mean + half))
    return Mean(mean=middle, low=low, high=high, n=n)


def t_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t; exact for 1 and 2, else by Cornish and Fisher's series.

    The series is within 1 % from 3 degrees of freedom on.
    """
    if freedom == 1:
        return math.tan(math.pi * 0.475)
    if freedom == 2:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    z, v = _Z, float(freedom)
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )


def share(k: int, n: int) -> Share:
    """A share with Wilson's interval, which holds near 0 and 1 too."""
    if n == 0:
        return Share(k=0, n=0, low=0.0, high=1.0)
    p, z2 = k / n, _Z * _Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Share(k=k, n=n, low=max(middle - half, 0.0), high=min(middle + half, 1.0))
