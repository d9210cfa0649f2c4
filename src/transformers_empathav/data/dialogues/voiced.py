"""What sounds one way or another: the same words in each emotion, and replies that follow the voice. Our own."""

from itertools import count

from .jsonl import SPLITS


# Words that say nothing of how it went, with the question that follows them.
NEWS = {
    "I just got off the phone with my sister.": "What did she tell you?",
    "The results came this morning.": "What do they say?",
    "I spoke to my boss today.": "How did that go for you?",
    "She wrote back.": "What did she write?",
    "I went to see the flat again.": "What was it like this time?",
    "They told me about the job.": "What did they decide?",
    "I opened the letter.": "What was in it?",
    "We had dinner with his parents.": "What happened there?",
    "My brother is coming on Sunday.": "What does his visit mean to you?",
    "I saw my old teacher at the station.": "What was it like to meet?",
    "The doctor called.": "What did the doctor say?",
    "I looked at my bank account.": "What did you find?",
    "The neighbours rang the bell last night.": "What did they want?",
    "I found the box in the cellar.": "What is in it?",
    "They picked the team today.": "And what came out for you?",
    "My daughter started school this week.": "How is she doing?",
    "I read what he said about me.": "What did he say?",
    "We sold the car.": "How do you feel about it now?",
    "The vet just left.": "What did the vet tell you?",
    "I came home and the door was open.": "What was inside?",
    "He asked me a question at breakfast.": "What did he ask?",
    "My name was on the list.": "What does that mean for you?",
    "I tried the soup she made.": "How was it?",
    "It is my last week here.": "What comes after?",
    "I ran into my ex at the market.": "What was that like?",
    "The parcel arrived.": "What was inside?",
    "They moved the date again.": "What does that change for you?",
    "I listened to his message.": "What did he say?",
    "Tomorrow I fly to Oslo.": "What waits for you there?",
    "I played the piece for them.": "What did they say?",
}
HELD_BACK = 6  # pieces of news, the last ones, that are `dev`
REACTIONS = {
    "angry": (
        "You sound really angry, and I would like to understand why.",
        "I can hear how mad this makes you.",
        "That has clearly upset you, I hear it in your voice.",
    ),
    "disgust": (
        "You sound quite disgusted.",
        "I can hear that it turned your stomach.",
        "Ugh, that seems to have been revolting for you.",
    ),
    "fearful": (
        "You sound scared, and you are not alone with it.",
        "I hear that this frightens you.",
        "Your voice is shaking a little, that must be scary.",
    ),
    "happy": (
        "You sound so happy, that is lovely to hear!",
        "I can hear you smile, how wonderful!",
        "Your joy comes right through, I am glad for you!",
    ),
    "neutral": (
        "Thank you for telling me.",
        "Okay, I am with you.",
        "I see.",
    ),
    "sad": (
        "You sound very sad, I am so sorry.",
        "I can hear how heavy this is for you, I am sorry.",
        "Your voice sounds close to tears, I am here.",
    ),
    "surprised": (
        "You sound as if you did not see that coming!",
        "Wow, I can hear how much that surprised you!",
        "That took you by surprise, did it not?",
    ),
}


def load_voiced(split: str) -> list[dict]:
    r"""
    A conversation for each piece of news, emotion and reaction: the user's words are the same in all emotions, so that
    only a clip can tell how the user feels. The user's message has the emotion and, by `voiced`, is to be given a clip
    of it before it is trained on.

    Args:
        split (`str`): `train`, `dev` (news that is not in `train`), or `test`, which is empty.

    Raises:
        `ValueError`: there is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"The news in different voices have no split {split!r}: take {', '.join(SPLITS)}.")
    news = list(NEWS.items())
    news = {"train": news[:-HELD_BACK], "dev": news[-HELD_BACK:]}.get(split, [])
    number = count()
    return [
        {
            "id": f"voiced-{split}-{next(number)}",
            "voiced": True,
            "messages": [
                {"role": "user", "content": said, "emotion": emotion},
                {"role": "assistant", "content": f"{reaction} {question}"},
            ],
        }
        for said, question in news
        for emotion, reactions in REACTIONS.items()
        for reaction in reactions
    ]
