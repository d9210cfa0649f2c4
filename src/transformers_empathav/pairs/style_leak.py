"""What gives preference pairs away without any understanding: their style, their length."""

from collections.abc import Sequence

import numpy as np


LEAK = 0.8


def style_accuracy(
    chosen: Sequence[str], rejected: Sequence[str], groups: Sequence[str], folds: int = 5
) -> dict[str, float] | None:
    r"""
    How well a bag of words tells chosen from rejected replies: logistic regression on the counts of words and signs,
    tested on dialogues that it was not trained on.

    It sees authorship (a human's words against a machine's), and the words of emotions too: a high figure says that
    pairs can be told apart without their context, not by what. Kinds whose sides have one author tell which.

    Args:
        chosen, rejected (`Sequence[str]`): The two replies of each pair.
        groups (`Sequence[str]`): Dialogue of each pair; all of one dialogue are on one side of a split.
        folds (`int`): Parts of the cross-validation.

    Returns:
        `dict` or `None`: `texts`, the share of single replies put on the right side, and `pairs`, the share of pairs
        whose chosen reply has the higher score, ties half. `None` where there are fewer dialogues than folds.
    """
    try:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GroupKFold
        from sklearn.pipeline import make_pipeline
    except ImportError:
        raise ImportError("The check for style leaks needs scikit-learn: pip install scikit-learn") from None
    if len(set(groups)) < folds:
        return None
    chosen, rejected = np.array(chosen, dtype=object), np.array(rejected, dtype=object)
    margins, right = np.zeros(len(chosen)), []
    for train, test in GroupKFold(folds).split(chosen, groups=groups):
        model = make_pipeline(CountVectorizer(token_pattern=r"\w+|[^\w\s]"), LogisticRegression(max_iter=1000))
        model.fit(np.concatenate([chosen[train], rejected[train]]), [1] * len(train) + [0] * len(train))
        first, second = (model.decision_function(side[test]) for side in (chosen, rejected))
        margins[test] = first - second
        right += [first > 0, second <= 0]
    return {
        "texts": float(np.mean(np.concatenate(right))),
        "pairs": float(np.mean(margins > 0) + np.mean(margins == 0) / 2),
    }


def pair_measures(pairs: Sequence[dict]) -> dict:
    r"""
    Measures of pairs of one kind.

    Args:
        pairs (`Sequence[dict]`): Rows of `make_pairs`, at least one.

    Returns:
        `dict`: `pairs` and `dialogues` (counts), means of `emotional_distance` and `contextual_similarity`, median
        `length_ratio` (rejected over chosen, in words), `rejected_longer` (share of pairs, equal lengths half),
        `style_texts` and `style_pairs` of [`style_accuracy`], and `leaks`: whether one of these two is above 0.8.
    """
    chosen, rejected = ([pair[side][0]["content"] for pair in pairs] for side in ("chosen", "rejected"))
    style = style_accuracy(chosen, rejected, [pair["dialogue"] for pair in pairs]) or {"texts": None, "pairs": None}
    ratios = np.array([pair["length_ratio"] for pair in pairs])
    return {
        "pairs": len(pairs),
        "dialogues": len({pair["dialogue"] for pair in pairs}),
        "emotional_distance": float(np.mean([pair["emotional_distance"] for pair in pairs])),
        "contextual_similarity": float(np.mean([pair["contextual_similarity"] for pair in pairs])),
        "length_ratio": float(np.median(ratios)),
        "rejected_longer": float(np.mean(ratios > 1) + np.mean(ratios == 1) / 2),
        "style_texts": style["texts"],
        "style_pairs": style["pairs"],
        "leaks": any(value is not None and value > LEAK for value in style.values()),
    }


def pair_table(measures: dict[str, dict]) -> str:
    """The measures of each kind as a table in Markdown."""
    lines = [
        "| kind | pairs | emotional distance | contextual similarity | length ratio | rejected longer | "
        "style, texts | style, pairs |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind, found in measures.items():
        style = ["–" if found[name] is None else f"{found[name]:.2f}" for name in ("style_texts", "style_pairs")]
        names = ("emotional_distance", "contextual_similarity", "length_ratio", "rejected_longer")
        cells = [kind, str(found["pairs"]), *(f"{found[name]:.2f}" for name in names), *style]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
