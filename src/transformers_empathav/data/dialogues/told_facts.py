r"""
Facts that a speaker tells of: names, places, numbers, plans, feelings, relatives and jobs.

Each kind of fact is a regular expression with ways to ask for it and to answer. They are careful: what they find is
mostly right, and most facts are not found. `{you}` in a question or an answer is what was said, turned to "you".
"""

import re
from dataclasses import dataclass


PET = r"dog|puppy|cat|kitten|horse|hamster|rabbit|parrot"
KIN = (
    r"sister|brother|son|daughter|husband|wife|boyfriend|girlfriend|cousin|niece|nephew|uncle|aunt|grandson|"
    r"granddaughter|roommate|(?:best )?friend"
)
FAMILY = (
    r"mother|mom|mum|father|dad|grandmother|grandma|grandfather|grandpa|sister|brother|son|daughter|husband|wife|"
    r"uncle|aunt|cousin|niece|nephew|boss|neighbou?r|roommate|girlfriend|boyfriend|best friend"
)
NAME = r"(?P<value>[^\W\d_a-z][a-z]\w+)"  # begins with a capital letter, in whatever script has them
PLACE = r"(?P<value>(?:New |San |Los |Las |North |South |West |East |St\. )?[A-Z][a-z]{2,}(?: [A-Z][a-z]{2,})?)"
NUMBER = r"(?P<number>\d[\d,.]*\d|\d|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty)"
JOB = (
    r"nurse|teacher|doctor|driver|waiter|waitress|cook|chef|cashier|manager|lawyer|accountant|engineer|programmer|"
    r"developer|carpenter|plumber|electrician|mechanic|writer|artist|musician|firefighter|police officer|paramedic|"
    r"social worker|librarian|salesman|hairdresser|baker|farmer|pharmacist|receptionist|secretary|dentist|student"
)
# Words for feelings, by the one of the seven emotions that they belong to.
FEELINGS = {
    "angry": "angry furious annoyed jealous",
    "disgust": "disgusted grossed",
    "fearful": "scared nervous anxious terrified worried frightened",
    "happy": "happy proud excited grateful hopeful relieved thankful glad",
    "sad": "sad lonely embarrassed ashamed guilty disappointed devastated depressed heartbroken",
    "surprised": "surprised shocked amazed",
}
EMOTION_OF = {word: emotion for emotion, words in FEELINGS.items() for word in words.split()}
FEELING = "|".join(EMOTION_OF)
DOING = (
    r"visit|see|buy|move|take|start|go|meet|call|try|paint|cook|bake|build|adopt|apply|study|learn|sell|fly|drive|"
    r"travel|throw|surprise|propose|ask|tell|watch|run|play|celebrate|make|write|volunteer|teach|join|plant|host"
)
EVENT = (
    r"passed away|died|got married|is getting married|got engaged|is pregnant|had a baby|is having a baby|graduated|"
    r"is moving away|moved away|got a divorce|lost (?:his|her) job|got fired|is in the hospital|has cancer"
)
# Words with a capital letter that are no name.
NO_NAME = set(
    "The This That And But She He They It His Her Him Who Which When What Where How Why Then There Was Has Had Did Do "
    "Does Can Could Will Would Should Please Thanks Just So My Me Mine You Your Our We Not Now Last Today Yesterday "
    "Tomorrow Christmas Easter Halloween Thanksgiving God Lol Omg Mom Mum Dad Baby Sorry Monday Tuesday Wednesday "
    "Thursday Friday Saturday Sunday January February March April May June July August September October November "
    "December Facebook Instagram Said Died Passed Got Yes No Oh Well After Before Because Always Never Still All Is "
    "Are Were".split()
)


@dataclass(frozen=True)
class FactKind:
    r"""
    One kind of fact.

    Args:
        name (`str`): Such as `"place"`.
        pattern (`re.Pattern`): With a group `value`, what is asked for; other groups may stand in the texts.
        questions, answers (`tuple[str, ...]`): With the names of groups in braces; every answer has the value.
    """

    name: str
    pattern: re.Pattern
    questions: tuple[str, ...]
    answers: tuple[str, ...]


def kind(name: str, pattern: str, questions: tuple[str, ...], answers: tuple[str, ...]) -> FactKind:
    return FactKind(name, re.compile(pattern), questions, answers)


NAMED = ("What is my {who} called?", "Do you remember my {who}'s name?", "What was the name of my {who} again?")
NAME_GIVEN = ("Your {who} is called {value}.", "Your {who}'s name is {value}.", "{value}. That is your {who}'s name.")
KINDS = (
    kind("name", rf"\b[Mm]y (?P<who>{PET}|{KIN})(?:'s name is|,? (?:is |was )?(?:named|called)) {NAME}\b",
         NAMED, NAME_GIVEN),
    kind("name", rf"\b[Mm]y (?P<who>{PET}|{KIN}),? {NAME}\b(?!')", NAMED, NAME_GIVEN),
    kind("place", rf"\bI (?:live|lived|am living) in {PLACE}",
         ("Where did I say I live?", "Do you remember where I live?"),
         ("You told me that you live in {value}.", "In {value}, you said.")),
    kind("place", rf"\b(?:I|[Ww]e) (?:just |recently )?moved to {PLACE}",
         ("Where did I say I moved?", "Which place did I move to?", "Do you still know where I moved to?"),
         ("You moved to {value}.", "To {value}, you told me.")),
    kind("place", rf"\b(?:trip|vacation|holiday|flight|cruise) (?:to|in) {PLACE}",
         ("Where was that trip I told you about?", "Which place did I name when I spoke of travelling?"),
         ("You spoke of {value}.", "It was {value}.", "{value}, you said.")),
    kind("number", rf"\bI(?:'ve| have) been (?P<what>married|single|divorced|sober|unemployed|retired|together|alone) "
         rf"for (?:almost |over |about |nearly )?(?P<value>{NUMBER} (?:years|months|weeks|days))\b",
         ("How long have I been {what}?", "Do you remember for how long I've been {what}?"),
         ("You have been {what} for {value}.", "For {value}, you told me.")),
    kind("number", rf"\b[Mm]y (?P<who>{KIN}) is (?P<value>{NUMBER}(?: (?:years|months|weeks) old)?)(?= and\b|[.,!])",
         ("How old is my {who}?", "Do you remember how old my {who} is?"),
         ("Your {who} is {value}.", "You told me that your {who} is {value}.")),
    kind("number", rf"(?<![\d.,$-])\b(?P<value>{NUMBER} (?P<unit>miles|dollars|pounds|kilometers|kilometres|"
         r"puppies|kittens|kids|children|siblings|hours|people|guests))\b",
         ("How many {unit} did I mention?", "What was the number of {unit} that I told you?",
          "Do you remember how many {unit} I spoke of?"),
         ("You mentioned {value}.", "It was {value}.", "{value}, you told me.")),
    kind("plan", rf"(?<!what )\bI(?:'m| am) (?:now )?going to (?P<value>(?:{DOING})(?: [\w']+){{2,7}})(?= *[.!]| *$)",
         ("What did I say I am going to do?", "What was my plan again?", "Do you remember what I'm about to do?"),
         ("You said that you are going to {you}.", "You are going to {you}.", "Your plan is to {you}.")),
    kind("feeling", rf"\bI (?:felt|was feeling|feel|am feeling|was|am) (?:so |very |really |pretty |quite |a bit |a "
         rf"little )?(?P<value>{FEELING})\b",
         ("How did I say I felt?", "What was the feeling that I named?", "Do you remember how I felt about it?"),
         ("You said that you felt {value}.", "You told me that you felt {value}.", "{value}, as you told me.")),
    kind("relative", rf"\b[Mm]y (?P<value>{FAMILY}) (?:just |recently |has )?(?P<what>{EVENT})\b",
         ("Who {what}, did I say?", "Do you remember who {what}?", "Who in my life {what}?"),
         ("Your {value} {what}.", "It was your {value}.", "You told me that your {value} {what}.")),
    kind("job", rf"\bI(?:'m| am| work as| was hired as| got a job as) an? (?P<value>(?:[a-z]+ )?(?:{JOB}))\b",
         ("What do I do for a living?", "Do you remember my job?", "What did I say my work is?"),
         ("You told me that you are {article} {value}.", "You are {article} {value}.")),
)  # fmt: skip
TO_YOU = {
    "i'm": "you're", "i've": "you've", "i'll": "you'll", "i'd": "you'd", "i": "you", "me": "you", "my": "your",
    "mine": "yours", "myself": "yourself", "we": "you", "us": "you", "our": "your", "ours": "yours",
    "ourselves": "yourselves", "am": "are",
}  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """A fact in a message: its kind, what was found, and the texts that ask for it and answer."""

    kind: str
    value: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]


def to_you(text: str) -> str:
    """What a speaker says of oneself, as it is said to that speaker."""
    return re.sub(r"[\w']+", lambda word: TO_YOU.get(word[0].lower(), word[0]), text)


def facts_in(text: str) -> list[Fact]:
    """The facts that a message tells, of each kind at most one: of several nobody could say which one is asked for."""
    found = {}
    for one in KINDS:
        matches = [match for match in one.pattern.finditer(text) if is_value(one, match["value"])]
        if len(matches) == 1 and one.name not in found:
            found[one.name] = fact_of(one, matches[0].groupdict())
        elif matches:
            found[one.name] = None
    return [fact for fact in found.values() if fact is not None]


def is_value(one: FactKind, value: str) -> bool:
    """Whether what stands in the place of a name or a place is one."""
    return one.name not in ("name", "place") or not NO_NAME & set(value.split())


def fact_of(one: FactKind, groups: dict[str, str]) -> Fact:
    """The fact with its texts filled in."""
    value = groups["value"].rstrip(",.")
    given = {**groups, "value": value, "you": to_you(value), "article": "an" if value[0] in "aeiou" else "a"}
    fill = [tuple(capital(text.format(**given)) for text in texts) for texts in (one.questions, one.answers)]
    return Fact(one.name, value, *fill)


def capital(text: str) -> str:
    """The text with a capital letter in front."""
    return text[:1].upper() + text[1:]
