"""Folds with further clips for the training sides."""

import pytest

from transformers_empathav.data.clips.item import clip_item
from transformers_empathav.data.speaker_splits import corpus_of, speaker_of, take_of
from transformers_empathav.training.arguments import parse_groups
from transformers_empathav.training.extractor.arguments import ExtractorArguments, HeldOutArguments
from transformers_empathav.training.extractor.cross_validation import check_groups, folds_with_extra


def item(speaker, number=1):
    return clip_item(f"03-01-05-02-0{number}-01-{speaker}.wav", "angry", f"actor{speaker}")


def speakers(items):
    return {speaker_of(one) for one in items}


def test_extra_clips_join_the_training_side_without_the_speakers_of_the_test_side():
    items, extra = [item("01"), item("02"), item("03")], [item("01", 2), item("09", 2)]
    folds = list(folds_with_extra(items, extra, HeldOutArguments(folds=3)))
    assert [speakers(test) for _, test in folds] == [{"actor01"}, {"actor02"}, {"actor03"}]
    assert [extra[0] in kept for kept, _ in folds] == [False, True, True]
    assert all(extra[1] in kept and not speakers(kept) & speakers(test) for kept, test in folds)


def test_takes_of_one_speaker_are_held_out_together():
    items = [item("01", number) for number in (1, 2, 1, 2)]
    for kept, test in folds_with_extra(items, [], HeldOutArguments("take", folds=2)):
        assert len(kept) == len(test) == 2 and len({take_of(one) for one in test}) == 1
        assert not {take_of(one) for one in kept} & {take_of(one) for one in test}


def corpora(items):
    return {corpus_of(one) for one in items}


def test_corpora_are_held_out_or_trained_on_one_by_one():
    items = [{**item(f"{corpus}{number}"), "corpus": corpus} for corpus in "ABC" for number in range(2)]
    folds = list(folds_with_extra(items, [], HeldOutArguments("corpus", folds=3)))
    assert [(corpora(kept), corpora(test)) for kept, test in folds] == [
        ({"B", "C"}, {"A"}),
        ({"A", "C"}, {"B"}),
        ({"A", "B"}, {"C"}),
    ]
    turned = list(folds_with_extra(items, [], HeldOutArguments("other corpora", folds=3)))
    assert turned == [(test, kept) for kept, test in folds]


def test_a_person_of_two_corpora_is_on_one_side():
    items = [{**item(speaker), "corpus": corpus} for corpus, speaker in (("A", "01"), ("B", "01"), ("B", "02"))]
    kept, test = next(iter(folds_with_extra(items, [], HeldOutArguments("corpus", folds=2))))
    assert corpora(test) == {"A"} and speakers(kept) == {"actor02"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--folds 4", "4 folds of 3 groups (actor01, actor02, actor03) cannot be made"),
        ("--folds 3 --dev_groups 2", "holds out 2 speakers and a training side has 2"),
        ("--dev_groups 3", "holds out 3 speakers and a training side has 3"),
        ("--folds 3 --choose_from a.yaml --choice_folds 3", "3 folds of 2 groups"),
    ],
)
def test_speakers_that_do_not_suffice_are_told_of(options, said, tmp_path):
    given = ["--output_dir", str(tmp_path), "--use_cpu", "true", "--save_strategy", "epoch", *options.split()]
    items = [item("01"), item("02"), item("03")]
    with pytest.raises(ValueError) as error:
        check_groups(items, [], parse_groups(ExtractorArguments, given))
    assert said in str(error.value)
