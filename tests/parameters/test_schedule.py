"""Schedules on their way through a plan that may change."""

import pytest

from digideep.parameters.component import describe
from digideep.parameters.schedule import Constant, Course, Linear, Schedule
from digideep.utility.errors import UsageError


class Steps(Schedule):
    """A user's own: 1, 2, 3, ..., and 0 once the plan is over."""

    def __call__(self, n_updates):
        return 0.0 if n_updates >= self.planned else n_updates + 1.0


def line(**more):
    return describe(Linear, start=0.8, end=0.2, **more)


def test_a_line_spans_the_plan_unless_it_has_a_duration_of_its_own():
    assert [Course(line(), 10)(n) for n in (0, 5, 10, 20)] == pytest.approx([0.8, 0.5, 0.2, 0.2])
    assert [Course(line(duration=4), 10)(n) for n in (0, 2, 4, 10)] == pytest.approx([0.8, 0.5, 0.2, 0.2])
    assert Course(line())(7) == 0.8  # nobody has planned anything


def test_stretching_is_as_if_the_new_plan_had_been_there_from_the_start():
    course = Course(line(), 20)
    course.go_on("anew", 3, 10)
    course.go_on("stretch", 10, 10)
    assert [course(n) for n in (10, 15, 20)] == pytest.approx([0.5, 0.35, 0.2])
    own = Course(line(duration=4), 20)
    own.go_on("stretch", 2, 10)
    assert [own(n) for n in (2, 4)] == pytest.approx([0.5, 0.2])


def test_keeping_takes_the_value_that_was_due_next_under_the_old_plan():
    course = Course(line(), 20)
    course.go_on("keep", 5, 10)
    assert [course(n) for n in (5, 12, 40)] == pytest.approx([0.5, 0.5, 0.5])
    again = Course(line(), 20)
    again.go_on("anew", 10, 10)  # from 0.8 at 10 to 0.2 at 20
    again.planned = 40
    again.go_on("keep", 15, 20)
    assert [again(n) for n in (15, 40)] == pytest.approx([0.5, 0.5])


def test_beginning_anew_spans_what_is_left_of_the_plan():
    course = Course(line(), 30)
    course.go_on("anew", 10, 10)
    assert [course(n) for n in (10, 20, 30)] == pytest.approx([0.8, 0.5, 0.2])
    own = Course(describe(Steps), 30)
    own.go_on("anew", 10, 10)
    assert [own(n) for n in (10, 29, 30)] == [1.0, 20.0, 0.0]


@pytest.mark.parametrize("how", ["stretch", "keep", "anew"])
def test_a_course_goes_on_from_its_state(how):
    course, other = Course(line(), 30), Course(line(), 30)
    course.go_on(how, 6, 10)
    other.load_state_dict(course.state_dict())
    assert [course(n) for n in range(6, 31)] == [other(n) for n in range(6, 31)]


def test_a_rate_that_is_0_to_the_end_is_refused_by_its_name():
    with pytest.raises(UsageError, match="lr is 0 from here to the end of the plan"):
        Course(describe(Linear, start=1.0, duration=10), 20).require_positive("lr", 10)
    with pytest.raises(UsageError, match="lr must be above 0"):
        Course(describe(Constant, value=0.0), 20).require_positive("lr", 0)
    Course(describe(Linear, start=1.0, duration=10), 20).require_positive("lr", 9)
    Course(describe(Linear, start=0.0, end=1.0), 20).require_positive("lr", 0)
    Course(describe(Linear, start=1.0)).require_positive("lr", 0)
