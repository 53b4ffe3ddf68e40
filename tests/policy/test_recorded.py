"""Every policy says and decides what is recorded."""

import pytest

from tests.policy.recorded import BUILT_IN, KEPT, POLICIES, refused, said


@pytest.mark.parametrize("name", [*POLICIES, *BUILT_IN])
def test_a_policy_says_and_decides_what_is_recorded(name: str) -> None:
    assert said(name) == (KEPT / f"{name}.txt").read_text()


def test_what_is_wrong_with_a_policy_is_said_as_recorded() -> None:
    assert refused() == (KEPT / "refused.txt").read_text()
