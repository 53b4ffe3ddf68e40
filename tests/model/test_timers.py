from oomkit.model.timers import Timers


def test_callbacks_run_in_order_of_time_and_then_of_addition() -> None:
    timers = Timers()
    ran: list[str] = []
    for name, when_s in (("late", 2.0), ("first", 1.0), ("second", 1.0)):
        timers.call_at(when_s, lambda name=name: ran.append(name))  # type: ignore[misc]  # a default
    assert timers.next_s == 1.0
    timers.run_due(1.0)
    assert ran == ["first", "second"]
    timers.run_due(2.0)
    assert ran == ["first", "second", "late"]
    assert (bool(timers), timers.next_s) == (False, float("inf"))


def test_a_callback_added_by_another_runs_in_the_same_turn_if_it_is_due() -> None:
    timers = Timers()
    ran: list[float] = []

    def again() -> None:
        ran.append(timers.next_s)
        if len(ran) < 3:
            timers.call_at(float(len(ran)), again)

    timers.call_at(0.0, again)
    timers.run_due(1.5)
    assert len(ran) == 2
    assert timers.next_s == 2.0
