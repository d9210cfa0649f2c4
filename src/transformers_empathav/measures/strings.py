"""Measures of replies as strings: BLEU, ROUGE, METEOR, distinct-n, length."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from .bootstrap import Scores


class NoSynonyms:
    """In place of WordNet for nltk's METEOR: no word has a synonym."""

    @staticmethod
    def synsets(word: str) -> list:
        return []


def bleu(predictions: Sequence[str], references: Sequence[str]) -> Scores:
    """Corpus BLEU of sacrebleu (Post, 2018), 0 to 100, from the n-gram counts of each reply."""
    from sacrebleu.metrics import BLEU

    counter = BLEU(effective_order=True)  # of single sentences only the counts are used
    found = [counter.sentence_score(text, [gold]) for text, gold in zip(predictions, references, strict=True)]
    statistics = [[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in found]
    return Scores(np.array(statistics, dtype=float).reshape(len(found), 10), corpus_bleu)


def corpus_bleu(sums: np.ndarray) -> np.ndarray:
    """Counts, totals and both lengths `(..., 10)` to BLEU `(...)`."""
    from sacrebleu.metrics import BLEU

    rows = np.asarray(sums).reshape(-1, 10)
    scores = [
        BLEU.compute_bleu(row[:4].astype(int).tolist(), row[4:8].astype(int).tolist(), int(row[8]), int(row[9]), "exp")
        for row in rows
    ]
    return np.array([score.score for score in scores]).reshape(np.shape(sums)[:-1])


def bleu_signature() -> str:
    """The signature of sacrebleu, which says how BLEU was counted; for reports."""
    from sacrebleu.metrics import BLEU

    metric = BLEU()
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature())


def rouge(predictions: Sequence[str], references: Sequence[str]) -> dict[str, Scores]:
    """F-measures of ROUGE-1, ROUGE-2 and ROUGE-L (Lin, 2004) by rouge-score, words stemmed."""
    from rouge_score.rouge_scorer import RougeScorer

    names = ("rouge1", "rouge2", "rougeL")
    scorer = RougeScorer(names, use_stemmer=True)
    found = [scorer.score(gold, text) for text, gold in zip(predictions, references, strict=True)]
    return {name: Scores.of_values([score[name].fmeasure for score in found]) for name in names}


def meteor(predictions: Sequence[str], references: Sequence[str], wordnet=NoSynonyms) -> Scores:
    """
    METEOR (Banerjee and Lavie, 2005) by nltk: words and their stems are matched, synonyms are not.

    Args:
        wordnet (*optional*): A `WordNetCorpusReader` of nltk, for synonyms too.
    """
    from nltk.tokenize import wordpunct_tokenize
    from nltk.translate.meteor_score import single_meteor_score

    return Scores.of_values(
        [
            single_meteor_score(wordpunct_tokenize(gold), wordpunct_tokenize(text), wordnet=wordnet)
            for text, gold in zip(predictions, references, strict=True)
        ]
    )


def length(predictions: Sequence[str]) -> Scores:
    """Words a reply, as white space parts them."""
    return Scores.of_values([len(text.split()) for text in predictions])


class Distinct(Scores):
    r"""
    Distinct-n (Li et al., 2016): different n-grams over all n-grams of all replies together.

    The more replies, the lower it is: compare equal numbers. A bootstrap sample would hold replies twice and be lower
    for that alone, so its statistics are the jackknife's: a reply's value is the figure plus `replies - 1` times how
    much the figure falls when the reply is left out, centred. Their mean is the figure.

    Args:
        replies (`list[str]`): Split at white space, lower-cased.
        n (`int`): Words in an n-gram.
    """

    def __init__(self, replies: Sequence[str], n: int):
        self.replies, self.n = list(replies), n
        rows = [Counter(n_grams(text, n)) for text in self.replies]
        everywhere = sum(rows, Counter())
        types, total = len(everywhere), everywhere.total()
        left = [types - sum(everywhere[gram] == count for gram, count in row.items()) for row in rows]
        without = np.array([kept / max(total - row.total(), 1) for kept, row in zip(left, rows)])
        figure = types / total if total else 0.0
        values = figure + (len(rows) - 1) * (without.mean() - without) if rows else without
        super().__init__(Scores.of_values(values).statistics)

    def __getitem__(self, rows: np.ndarray) -> "Distinct":
        return Distinct([self.replies[row] for row in np.arange(len(self.replies))[rows]], self.n)


def n_grams(text: str, n: int) -> list[tuple[str, ...]]:
    """All runs of `n` words."""
    words = text.lower().split()
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
