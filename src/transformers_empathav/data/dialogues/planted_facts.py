"""Small invented facts to plant into dialogues, so that many can be asked for. Their values differ by split."""

import random
from dataclasses import dataclass

from .told_facts import NAME_GIVEN, NAMED, Fact, capital


# Values of each slot, for training and held out.
VALUES = {
    "pet": (
        "Biscuit Pepper Waffles Clover Nugget Juniper Button Tango Maple Domino Sparky Olive Rufus Pickle Comet Hazel "
        "Mochi Bandit Poppy Truffle",
        "Marble Ziggy Noodle Saffron Otis Pebble Fig Cricket",
    ),
    "person": (
        "Amara Ilse Tomas Priya Dmitri Leila Jonas Noor Mateo Ingrid Kenji Paula Rashid Elena Oscar Wanda Felix Yara "
        "Björn Chloé Zanele Hugo Mirela Stefan",
        "Anouk Tariq Greta Emeka Łukasz Sunita Pavel Odette Ravi",
    ),
    "place": (
        "Lisbon, Tucson, Bergen, Nairobi, Leeds, Kyoto, Halifax, Salzburg, Quito, Boulder, Galway, Hanoi, Utrecht, "
        "Savannah, Perth, Kraków, Duluth, Verona",
        "Ghent, Cusco, Aberdeen, Tacoma, Málaga, Dunedin, Riga",
    ),
    "job": (
        "a baker, a bus driver, a nurse, a gardener, an electrician, a librarian, a welder, a vet, a postman, "
        "a tailor, an optician, a tram driver, a chemist, a roofer",
        "a beekeeper, a locksmith, a midwife, a surveyor, an organist",
    ),
    "food": (
        "pumpkin soup, lemon cake, fried rice, dumplings, lentil stew, apple pie, tomato salad, pancakes, fish tacos, "
        "mushroom risotto, garlic bread",
        "plum cake, onion soup, noodle salad, corn fritters",
    ),
    "plan": (
        "paint the kitchen yellow, learn to play the cello, hike along the coast, build a bookshelf, take a pottery "
        "class, plant cherry trees, run a half marathon, bake for the school fair, sell the old van, join a choir",
        "restore a rowing boat, learn sign language, keep bees on the roof, cycle to the sea",
    ),
    "number": (
        "three, four, six, seven, nine, twelve, fourteen, sixteen, nineteen, twenty-two, thirty, 45, 110, 230",
        "five, eight, eleven, seventeen, twenty-six, 64, 180",
    ),
    "day": ("Monday, Tuesday, Thursday, Saturday", "Wednesday, Friday, Sunday"),
    "colour": ("green, dark blue, orange, grey, white, purple", "yellow, red, turquoise"),
}
PETS = ("dog", "cat", "rabbit", "parrot", "pony")
PEOPLE = ("best friend", "cousin", "neighbour", "boss", "roommate", "colleague")


@dataclass(frozen=True)
class Plant:
    r"""
    A kind of planted fact.

    Args:
        kind (`str`): As in [`Fact`].
        slot (`str`): Whose values are asked for, one of `VALUES`.
        topics (`tuple[str, ...]`): Words for `{who}`. A dialogue that has the drawn one already does not get it.
        told, questions, answers (`tuple[str, ...]`): What is said, with `{value}` and `{who}`.
    """

    kind: str
    slot: str
    topics: tuple[str, ...]
    told: tuple[str, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]


PLANTS = (
    Plant("name", "pet", PETS,
          ("My {who}'s name is {value}.", "I have a {who}, by the way. It is called {value}.",
           "{value}, my {who}, is lying next to me while I write."),
          NAMED, NAME_GIVEN),
    Plant("name", "person", PEOPLE,
          ("My {who}'s name is {value}.", "I should ask my {who} about this. {value} always knows what to do.",
           "My {who} {value} says hello."),
          NAMED, NAME_GIVEN),
    Plant("place", "place", ("live",),
          ("I live in {value}, by the way.", "It is raining here in {value}, where I live.",
           "Did I say that I live in {value}?"),
          ("Where do I live?", "Do you remember where I live?", "Which town did I say I live in?"),
          ("You live in {value}.", "You told me that you live in {value}.", "In {value}, as you said.")),
    Plant("place", "place", ("born",),
          ("I was born in {value}.", "I'm from {value}, I was born there."),
          ("Where was I born?", "Which place am I from?", "Do you remember where I come from?"),
          ("You were born in {value}.", "You come from {value}.", "You told me that you are from {value}.")),
    Plant("place", "place", ("summer",),
          ("We spend the summer in {value} this year.", "Next summer we travel to {value}, the tickets are booked."),
          ("Where will I be in summer?", "Do you remember where I travel in the summer?"),
          ("You will be in {value}.", "In {value}, you said.", "You travel to {value} in the summer.")),
    Plant("job", "job", ("work",),
          ("I work as {value}.", "I'm {value}, that is my work.",
           "It was a long day at work. Being {value} is tiring."),
          ("What is my job?", "What do I do for a living?", "Do you remember what I work as?"),
          ("You work as {value}.", "You are {value}.", "You told me that you are {value}.")),
    Plant("food", "food", ("cook", "lunch"),
          ("I made {value} for lunch today.", "I'm about to cook {value}.", "There is {value} on the stove, I love to "
           "cook that."),
          ("What did I say I cooked?", "Which dish did I tell you about?", "What was it that I had to eat?"),
          ("It was {value}.", "You told me about {value}.", "You made {value}, you said.")),
    Plant("plan", "plan", ("plan",),
          ("I have a plan for this year: I'm going to {value}.", "By the way, I'm going to {value} next month.",
           "I decided that I'm going to {value}."),
          ("What did I say I am going to do?", "What was my plan again?", "Do you remember what I have planned?"),
          ("You are going to {value}.", "You said that you are going to {value}.", "Your plan is to {value}.")),
    Plant("number", "number", ("sheep", "bicycles", "old clocks", "cousins", "houseplants"),
          ("I have {value} {who}, can you believe it?", "We own {value} {who} by now.", "I counted my {who} today: "
           "there are {value}."),
          ("How many {who} do I have?", "Do you remember how many {who} I have?", "What was the number of my {who}?"),
          ("You have {value} {who}.", "{value}, you told me.", "You told me that you have {value} {who}.")),
    Plant("number", "number", ("birthday",),
          ("My mother has her birthday today, it is only {value} days until mine.",),
          ("How many days is it until my birthday?", "When is my birthday, in how many days?"),
          ("It is {value} days until your birthday.", "In {value} days, you said.")),
    Plant("day", "day", ("dentist appointment", "job interview", "driving test", "piano lesson"),
          ("My {who} is on {value}.", "I have a {who} on {value}, by the way.", "On {value} there is my {who}."),
          ("On which day is my {who}?", "When is my {who}?", "Do you remember the day of my {who}?"),
          ("Your {who} is on {value}.", "On {value}, you told me.", "It is on {value}.")),
    Plant("colour", "colour", ("car", "front door", "bike", "sofa"),
          ("My {who} is {value}.", "We have a new {who}, it is {value}.", "I painted my {who} {value} last week."),
          ("What colour is my {who}?", "Do you remember the colour of my {who}?",
           "Which colour did I say my {who} has?"),
          ("Your {who} is {value}.", "It is {value}.", "You told me that your {who} is {value}.")),
)  # fmt: skip
NOTED = (
    "Thank you for telling me.",
    "That is good to know.",
    "I see, thank you.",
    "Oh, nice. I will keep that in mind.",
    "How nice that you tell me.",
    "All right, I am listening.",
)


def plant(draw: random.Random, split: str, said: str) -> tuple[str, str, Fact] | None:
    r"""
    Draws a fact to plant into a dialogue.

    Args:
        draw (`random.Random`): Where all draws come from.
        split (`str`): `train` or `dev`; no value is of both.
        said (`str`): The words of the dialogue. What they speak of already is not planted.

    Returns:
        `tuple[str, str, Fact]`, *optional*: What the speaker tells, how it is acknowledged, and the fact. `None` where
        the drawn topic is in the dialogue already.
    """
    one = draw.choice(PLANTS)
    who, value = draw.choice(one.topics), draw.choice(values_of(one.slot, split))
    if who in said.lower() or value.lower() in said.lower():
        return None
    fill = [tuple(capital(text.format(who=who, value=value)) for text in texts)
            for texts in (one.told, one.questions, one.answers)]  # fmt: skip
    return draw.choice(fill[0]), draw.choice(NOTED), Fact(one.kind, value, fill[1], fill[2])


def values_of(slot: str, split: str) -> list[str]:
    """The values of a slot in a split."""
    values = VALUES[slot][split != "train"]
    return values.split(", ") if "," in values else values.split()
