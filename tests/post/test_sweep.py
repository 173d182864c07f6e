"""The part of a report that is about a sweep."""

import json
import math

import pytest

from digideep.post.report_plots import Pictures
from digideep.post.sweep import read_sweep, sweep_part
from digideep.utility.errors import SessionError


def trial(number, state, lr, values, reason=""):
    suggested = {"lr": lr, "cell": ['"gru"', '"lstm"'][number % 2], "<b>": number + 1}
    return {"number": number, "state": state, "suggested": suggested, "changes": {}, "values": values, "reason": reason}


SWEEP = {
    "version": 1, "metric": "/return/test", "direction": "maximize", "sampler": "tpe", "pruner": "halving",
    "rungs": [3, 9], "best": 2, "importances": {"lr": 0.9, "cell": 0.1},
    "trials": [
        trial(0, "complete", 1e-4, {"3": 2.0, "9": 30.0}), trial(1, "pruned", 1e-2, {"3": 1.0}),
        trial(2, "complete", 1e-3, {"3": 5.0, "9": 400.0}), trial(3, "failed", 1.0, {}, "loss is <nan>"),
    ],
}  # fmt: skip


def write(directory, sweep):
    (directory / "trials.json").write_text(json.dumps(sweep))
    return directory


def test_a_sweep_is_drawn_and_listed_best_first(tmp_path):
    pictures = Pictures()
    page = sweep_part("mine", read_sweep(write(tmp_path, SWEEP)), pictures)
    history, rungs, importances, rate, cell, odd = pictures.described
    best_so_far, marks = history["traces"]
    assert (best_so_far["x"], best_so_far["y"]) == ([0, 2, 3], [30, 400, 400])
    assert (marks["x"], marks["y"]) == ([0, 1, 2], [30, 1, 400])
    assert [trace["y"] for trace in rungs["traces"]] == [[2, 30], [1], [5, 400]]
    assert importances["traces"][0]["x"] == [0.9, 0.1]
    assert rate["layout"]["xaxis"]["type"] == "log"
    assert cell["layout"]["xaxis"]["categoryarray"] == ['"gru"', '"lstm"']
    assert odd["traces"][0]["x"] == [1, 2, 3]
    assert page.index("400.00") < page.index("30.00") < page.index("pruned") < page.index("loss is &lt;nan&gt;")
    assert "<b>" not in page


def test_of_a_measure_that_is_to_be_small_the_smallest_comes_first(tmp_path):
    pictures = Pictures()
    page = sweep_part(
        "mine", SWEEP | {"direction": "minimize", "best": 0, "importances": {}, "sampler": "<b>"}, pictures
    )
    assert page.index("30.00") < page.index("400.00")
    assert "<b>" not in page
    assert pictures.described[0]["traces"][0]["y"] == [30, 30]


def test_a_directory_without_trials_is_no_sweep(tmp_path):
    assert read_sweep(tmp_path) is None


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"metric": 3}, {"trials": {}}, {"importances": {"lr": math.nan}}, {"trials": [{}]},
        {"trials": [trial(0, "asleep", 1, {})]}, {"trials": [trial(0, "pruned", 1, {"x": 1.0})]},
        {"trials": [trial(0, "pruned", 1, {"3": math.inf})]},
    ],
)  # fmt: skip
def test_what_no_sweep_writes_is_refused(tmp_path, change):
    with pytest.raises(SessionError, match="is not what a sweep of this version writes"):
        read_sweep(write(tmp_path, SWEEP | change))
