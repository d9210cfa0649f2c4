"""Measures of preference pairs, with how well style alone tells chosen from rejected replies."""

from collections.abc import Sequence

import numpy as np


LEAK = 0.8  # accuracy of a bag of words above which pairs leak their style


def style_accuracy(
    chosen: Sequence[str], rejected: Sequence[str], groups: Sequence[str], folds: int = 5
) -> dict[str, float] | None:
    r"""
    Measures how well a bag of words tells chosen from rejected replies: logistic regression on counts of words and
    signs, cross-validated over dialogues.

    It sees who the author is (a person's words or a machine's) and emotion words. A high figure says that replies can
    be told apart without their context, but not by what. Compare with a kind of pairs whose sides have one author.

    Args:
        chosen, rejected (`Sequence[str]`): The two replies of each pair.
        groups (`Sequence[str]`): Dialogue of each pair. A dialogue is never split.
        folds (`int`, *optional*, defaults to 5): Of the cross-validation.

    Returns:
        `dict` or `None`: `texts`, the share of single replies that are classified rightly, and `pairs`, the share of
        pairs whose chosen reply has the higher score, ties half. `None` where there are fewer dialogues than folds.
    """
    try:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GroupKFold, cross_val_predict
        from sklearn.pipeline import make_pipeline
    except ImportError:
        raise ImportError("The check for style leaks needs scikit-learn: pip install scikit-learn") from None
    if len(set(groups)) < folds:
        return None
    model = make_pipeline(CountVectorizer(token_pattern=r"\w+|[^\w\s]"), LogisticRegression(max_iter=1000))
    texts, labels = [*chosen, *rejected], np.repeat([1, 0], len(chosen))
    scores = cross_val_predict(
        model, texts, labels, groups=[*groups, *groups], cv=GroupKFold(folds), method="decision_function"
    )
    margins = scores[: len(chosen)] - scores[len(chosen) :]
    return {
        "texts": float(np.mean((scores > 0) == labels)),
        "pairs": float(np.mean(margins > 0) + np.mean(margins == 0) / 2),
    }


def pair_measures(pairs: Sequence[dict]) -> dict:
    r"""
    Measures pairs of one kind.

    Args:
        pairs (`Sequence[dict]`): Rows of [`make_pairs`], at least one.

    Returns:
        `dict`: `pairs` and `dialogues` (counts), means of `emotional_distance` and `contextual_similarity`, median
        `length_ratio` (rejected over chosen, in words), `rejected_longer` (share of pairs, equal lengths half),
        `style_texts` and `style_pairs` of [`style_accuracy`], which splits neither dialogues nor exchanges, and
        `leaks`: whether one of these two is above 0.8.
    """
    chosen, rejected = ([pair[side][0]["content"] for pair in pairs] for side in ("chosen", "rejected"))
    groups = [pair.get("exchange") or pair["dialogue"] for pair in pairs]
    style = style_accuracy(chosen, rejected, groups) or {"texts": None, "pairs": None}
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
    """A Markdown table of the measures of each kind."""
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
