"""A baseline for text emotion classifiers: a list of words for each emotion."""

import re
from collections.abc import Sequence

import numpy as np

from ...modeling.configuration_empathav import EMOTION_LABELS


# Words, and with a star beginnings of words. Written for this project and fitted to no corpus. A text without any of
# them is neutral.
LEXICON = {
    "angry": """
        angr* anger* annoy* betray* blam* damn* fault fed furious fury hate* hell idiot* infuriat* irritat* jealous*
        jerk* liar* mad outrag* pissed rage resent* ridiculous rude* screw* shut steal* stole* stop stupid* unfair
        yell*""",
    "disgust": """
        awful barf* creep* dirty disgust* eew* ew eww* filth* foul gross* icky mold* nasty nause* pervert* puk* repuls*
        revolt* rotten slim* smell* spit* stink* sweat* trash* ugh* vomit* weird* yuck*""",
    "fearful": """
        afraid alarm* anxi* attack* burglar* careful danger* dark dread* fear* fright* ghost* hide horror* hurry nerv*
        nightmar* panic* petrif* scare* scary scream* shaking shiver* spider* stalk* storm* terrif* threat* worr*""",
    "happy": """
        amaz* award* awesome beautiful best bless* celebrat* cheer* congrat* cool delight* enjoy* excit* fantastic fun
        glad good grateful great haha* happ* hooray hope* hoping joy* laugh* love* lucky nice perfect* pleased proud*
        smil* sweet thank* trust* win winning won wonderful yay yeah yes""",
    "sad": """
        alone asham* cancer cried cry* dead death* depress* devastat* die died disappoint* divorc* embarrass* fail*
        funeral* goodbye grief griev* guilt* heartbr* hurt* lonel* lose losing loss lost miss missed missing mourn*
        nostalg* poor regret* sad* sob* sorry tear tears terrible unfortunate* worst""",
    "surprised": """
        astonish* believe expect* gosh huh kidding omg really seriously shock* sudden* surpris* unbeliev*
        unexpect* wait what whoa wow""",
}
WORDS = {emotion: words.split() for emotion, words in LEXICON.items()}
PATTERNS = {
    emotion: re.compile("|".join(word.replace("*", "[a-z']*") for word in words)) for emotion, words in WORDS.items()
}


def lexicon_scores(texts: Sequence[str]) -> np.ndarray:
    """
    Probabilities `(texts, 7)`: the share of each emotion among the listed words of a text. Neutral counts as half a
    word, so it wins where no word is listed and nowhere else. `?!` and `!?` count as a word of surprise.
    """
    counts = np.zeros((len(texts), len(EMOTION_LABELS)))
    counts[:, EMOTION_LABELS.index("neutral")] = 0.5
    for row, text in enumerate(texts):
        lowered = text.lower()
        found = re.findall(r"[a-z']+", lowered)
        for emotion, pattern in PATTERNS.items():
            column = EMOTION_LABELS.index(emotion)
            counts[row, column] += sum(pattern.fullmatch(word) is not None for word in found)
        counts[row, EMOTION_LABELS.index("surprised")] += bool(re.search(r"\?!|!\?", lowered))
    return counts / counts.sum(axis=1, keepdims=True)
