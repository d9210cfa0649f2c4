"""Orders of rows: complete, alike within a batch, mixed between batches, and the same again."""

import statistics

from transformers_empathav.training.sampler import LengthSampler


LENGTHS = [17 * row % 101 for row in range(203)]


def batches(sampler, size):
    order = list(sampler)
    assert sorted(order) == list(range(len(LENGTHS)))
    return [[LENGTHS[row] for row in order[start : start + size]] for start in range(0, len(order), size)]


def test_batches_have_rows_of_like_length_and_come_in_no_order_of_length():
    *whole, last = batches(LengthSampler(4, LENGTHS, seed=0), 4)
    assert len(last) == 3
    assert statistics.mean(max(batch) - min(batch) for batch in whole) < 12
    means = [statistics.mean(batch) for batch in whole]
    assert abs(statistics.correlation(means, range(len(means)))) < 0.4


def test_an_epoch_has_an_order_of_its_own_which_comes_again():
    sampler, orders = LengthSampler(4, LENGTHS, seed=0), []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] == orders[2] != orders[1]


def test_fewer_rows_than_a_batch_are_all_given():
    assert sorted(LengthSampler(8, [3, 1, 2], seed=0)) == [0, 1, 2]
