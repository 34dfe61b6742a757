"""Words that mean nothing, and keyboard mash: text for generated inputs."""

import numpy as np

CONSONANTS, VOWELS = tuple("bcdfghjklmnprstvw"), tuple("aeiou")
HOME_ROW = tuple("asdfghjkl")
CLOSED = 0.4  # share of syllables that end in a consonant


def name(stream: np.random.Generator) -> str:
    """Make a word of 1 to 4 syllables."""
    return "".join(_syllable(stream) for _ in range(int(stream.integers(1, 5))))


def sentence(stream: np.random.Generator, words: int) -> str:
    """Make a sentence of so many words."""
    text = " ".join(name(stream) for _ in range(words))
    return f"{text.capitalize()}."


def mash(stream: np.random.Generator) -> bytes:
    """Press keys of the home row at random: three lines, each shorter than the one before."""
    lengths = (18, 15, 13)
    return "".join("".join(stream.choice(HOME_ROW, length)) + "\n" for length in lengths).encode()


def _syllable(stream: np.random.Generator) -> str:
    end = str(stream.choice(CONSONANTS)) if stream.random() < CLOSED else ""
    return f"{stream.choice(CONSONANTS)}{stream.choice(VOWELS)}{end}"
