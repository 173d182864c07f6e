"""Deliberate faults in the replay of sequences, and in the policies that learn from them."""

from tests.faults.runner import faults_in

_SEQUENCES = "tests/memory/test_sequences.py"
_AGENTS = "tests/agent/test_recurrent_replay.py::test_"
_ACTED = f"{_AGENTS}what_is_learned_from_is_what_acting_saw_at_these_rows_and_those_to_bootstrap_from"

FAULTS = (
    *faults_in(
        "digideep/memory/sequences.py",
        _SEQUENCES,
        ("np.minimum(now - offsets, last - length)", "now - offsets", "sequences run out at the episode's end"),
        ("now - offsets", "now", "what comes before a transition is rarely in its sequence"),
        ("burn_in if ring.has_forgotten else 0", "0", "the burn-in was overwritten"),
        ("burn_in if ring.has_forgotten else 0", "burn_in", "the first transitions are never drawn"),
        ("np.maximum(first, starts - burn_in)", "starts - burn_in", "the burn-in reaches into another episode"),
        ("    keep[:, 0] = 1", "    keep[:, 0] *= 1", "stored states are forgotten"),
        ("(moments != firsts)", "(moments >= 0)", "what stands before an episode counts"),
        ("burn_in + length] < lasts)", "burn_in + length] <= lasts)", "half-steps are transitions"),
        ("episodes.rows(indices.firsts)", "episodes.rows(indices.starts)", "the state is of a later row"),
        ("places + (bootstraps - own.rows) % memory.ring.num_steps", "places + 1", "bootstraps are a step later"),
        ("self.share = own_number / number", "self.share = 1 / ranks.size", "ranks weigh as much with fewer rows"),
        ("if batch_size % sequence_length or", "if", "a batch of broken sequences"),
        ("sum(rows.values())", "1", "a memory without a sequence in it"),
    ),
    *faults_in(
        "digideep/policy/recurrent.py",
        f"{_AGENTS}the_burn_in_gets_no_gradient_and_all_rows_after_it_do {_ACTED}",
        ("with torch.no_grad():", "with torch.enable_grad():", "the burn-in learns"),
        ("seen.keep[:, -length:]", "torch.ones_like(seen.keep[:, -length:])", "an episode begins with a state"),
        ("slice(actor.state_size, self.state_size)", "slice(0, actor.state_size)", "critics have the actor's state"),
        ("(outputs[0], seen.rows)", "(outputs[0], seen.rows - 1)", "features of the row before"),
    ),
    *faults_in(
        "digideep/policy/cell_passes.py",
        "tests/policy/test_recurrent.py::test_rows_that_are_taken_often_have_the_same_gradient_each_time_with_several_threads",
        (".index_add_(0, rows, grad)", ".index_put_((rows,), grad, accumulate=True)", "threads add in any order"),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        _ACTED,
        ('"hidden_state": state}', '"hidden_state": hidden_state}', "nobody remembers"),
        ("now._replace(rows=rows_2)", "now", "the bootstrap is of the same row"),
    ),
)
