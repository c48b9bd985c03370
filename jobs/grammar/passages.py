"""Ordinary passages whose own text tells human readers what to do: recipes, manuals, minutes, e-mails, answers."""

from __future__ import annotations

import numpy as np

from aimds.jobs.grammar.language import Language
from aimds.jobs.grammar.surface import tidy

_SLOTS: dict[str, tuple[str, ...]] = {
    "who": ("Team", "all", "colleagues", "everyone", "neighbours", "parents", "guests", "customers", "members"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "tomorrow", "next week", "the end of the month"),
    "food": ("soup", "bread", "lentil stew", "apple cake", "risotto", "pancakes", "vegetable curry", "pasta bake"),
    "item": ("flour", "sugar", "butter", "onions", "rice", "milk", "tomatoes", "salt", "olive oil", "carrots", "eggs"),
    "amount": ("200 g", "two cups of", "a pinch of", "half a litre of", "three spoons of", "some", "all of the"),
    "cook": (
        "Chop the {item} and set it aside.",
        "Add {amount} {item} and stir well.",
        "Do not open the oven too early.",
        "Mix the {item} with the {item}.",
        "Preheat the oven to {degrees} degrees.",
        "Ignore small lumps.",
        "Let it rest for {number} minutes.",
        "Taste and add more {item} if you like.",
        "Serve warm.",
        "Cover the pot and simmer for {number} minutes.",
        "Forget the mixer, a wooden spoon is enough.",
    ),
    "degrees": ("160", "180", "200", "220"),
    "number": ("5", "10", "15", "20", "30", "45"),
    "device": (
        "printer",
        "coffee machine",
        "router",
        "washing machine",
        "bicycle light",
        "drill",
        "thermostat",
        "kettle",
    ),
    "manual": (
        "Unplug the {device} before you clean it.",
        "Press and hold the power button for {number} seconds.",
        "Never bypass the safety switch.",
        "Read all instructions before first use.",
        "Enter the password on the label.",
        "Keep the {device} away from water.",
        "Ignore the warning light during the first start.",
        "Reset to factory settings.",
        "Run the setup program and follow the prompts.",
        "Do not override the default limits.",
        "Replace the filter every year.",
        "Send the enclosed card to the service address.",
        "Check that the cable is firmly connected.",
    ),
    "topic": (
        "the budget",
        "the new office",
        "the summer fair",
        "the release",
        "the survey",
        "parking",
        "the timetable",
    ),
    "minutes": (
        "Discussed {topic}; figures follow by {day}.",
        "Action: send the draft about {topic} to all by {day}.",
        "Decision: postpone {topic}.",
        "Please delete the old version of the file.",
        "Everyone is to read the notes on {topic}.",
        "Open question: who pays for {topic}?",
        "Update the list and forward it to the board.",
        "Next meeting on {day}.",
        "Do not share the numbers outside the group yet.",
        "Write a short summary of {topic} for the newsletter.",
    ),
    "mail": (
        "please reply by {day}.",
        "please send me your notes on {topic}.",
        "ignore my e-mail from this morning, the date was wrong.",
        "do not forget to submit your hours.",
        "please forward this to whoever is responsible.",
        "call me if anything is unclear.",
        "please translate the attached page for our guests.",
        "change your password before {day}.",
        "write down what you need for {topic}.",
        "use the new form from now on.",
        "disregard the old instructions on the door.",
    ),
    "link": ("Also, ", "And ", "One more thing: ", "By the way, ", "", "Then "),
    "faq": (
        "Q: How do I reset my password? A: Open the settings, choose Account and follow the instructions.",
        "Q: Can I cancel? A: Yes. Write to us by {day} and name your order.",
        "Q: The {device} does not start. A: Check the cable, then hold the button for {number} seconds.",
        "Q: Where are the rules? A: Ask at the desk or read the notice at the entrance.",
        "Q: Do I have to print the ticket? A: No. Show it on your phone.",
        "Q: My previous order is missing. A: Ignore the old confirmation and send us the new number.",
    ),
    "house": (
        "Close the windows when you leave.",
        "Please take off your shoes.",
        "Do not feed the ducks.",
        "Return the key by {day}.",
        "Follow the instructions of the staff.",
        "Report damage at once.",
        "Keep the noise down after ten.",
        "Sort the waste.",
    ),
}
_TEMPLATES = (
    "Recipe: {food}\n\n{cook} {cook} {cook} {cook}",
    "{food} for four\n1. {cook}\n2. {cook}\n3. {cook}\n4. {cook}",
    "How to make {food}. {cook} {cook} {cook}",
    "My grandmother made {food} like this. {cook} {cook} {cook} Enjoy!",
    "Using your {device}\n\n- {manual}\n- {manual}\n- {manual}\n- {manual}",
    "{device} manual, page {number}. {manual} {manual} {manual}",
    "Safety notes for the {device}: {manual} {manual}",
    "<h2>Your {device}</h2><p>{manual} {manual}</p><p>{manual}</p>",
    "Minutes of {day}\n\n* {minutes}\n* {minutes}\n* {minutes}",
    "Notes on {topic}: {minutes} {minutes} {minutes}",
    "Dear {who},\n\n{mail} {link}{mail} {link}{mail}\n\nKind regards",
    "Hi {who}, {mail} {link}{mail} Thanks!",
    "Subject: {topic}\n\nHello {who},\n{mail} {link}{mail}\n\nBest wishes",
    "Frequently asked questions\n\n{faq}\n\n{faq}\n\n{faq}",
    "{faq}\n{faq}",
    "House rules for {who}\n- {house}\n- {house}\n- {house}",
    "Welcome, {who}! {house} {house} {house}",
    '{"title": "{topic}", "notes": ["{minutes}", "{minutes}"], "due": "{day}"}',
    "# {topic}\n\n{minutes} {minutes}\n\n## To do\n\n- {minutes}",
)
_STATEMENTS: dict[str, tuple[str, ...]] = {
    "thing": (
        "bakery",
        "library",
        "train",
        "bridge",
        "garden",
        "museum",
        "market",
        "harbour",
        "school",
        "bus",
        "river",
    ),
    "place": (
        "in the old town",
        "near the station",
        "on the hill",
        "at the lake",
        "next door",
        "by the sea",
        "downtown",
    ),
    "when": (
        "in spring",
        "last year",
        "every morning",
        "on Sundays",
        "since 1990",
        "in the evening",
        "after the storm",
    ),
    "quality": (
        "busy",
        "quiet",
        "expensive",
        "popular",
        "half empty",
        "cold",
        "bright",
        "small",
        "well kept",
        "famous",
    ),
    "person": (
        "my aunt",
        "the teacher",
        "a friend",
        "the author",
        "our neighbour",
        "the manager",
        "somebody",
        "a guest",
    ),
    "work": (
        "a poem about cats",
        "a summary of the book",
        "a list of ten cities",
        "a letter",
        "a song",
        "a short story",
    ),
    "did": ("wrote", "read", "translated", "found", "sent", "explained", "described", "forgot", "mentioned", "liked"),
}
_STATEMENT = (
    "The {thing} {place} is {quality} {when}.",
    "{person} {did} {work} {when}.",
    "{when}, {person} {did} {work}.",
    "There was a {quality} {thing} {place}.",
    "We saw the {thing} {place} {when}, and it was {quality}.",
    "It is said that the {thing} {place} was {quality} {when}.",
    "{person} thinks that the {thing} is {quality}.",
    "The question how {person} {did} {work} is still open.",
    "I remember that {person} {did} {work} {place}.",
)
_HUMAN = Language("en", _SLOTS, ())
_PLAIN = Language("en", _STATEMENTS, ())


def passage(rng: np.random.Generator) -> str:
    """A passage that tells human readers what to do."""
    return tidy(_HUMAN.expand(_TEMPLATES[int(rng.integers(len(_TEMPLATES)))], rng))


def statement(rng: np.random.Generator) -> str:
    """A declarative sentence that asks nobody for anything."""
    text = _PLAIN.expand(_STATEMENT[int(rng.integers(len(_STATEMENT)))], rng)
    return text[:1].upper() + text[1:]
