"""Sentences of the library, said to somebody who has a command line and no arguments of Python."""

import re

from bgd.knowledge import GIVES

OPTIONS = {  # what the library says -> what the command has for it
    GIVES["statistic"]: "--training INPUTS,LABELS, or --statistics FILE",
    GIVES["keep_set"]: "--keep INPUTS",
    GIVES["training_data"]: "--training INPUTS,LABELS",
    "overwrite=True": "--overwrite",
    "shared=True": "--shared",
}


def as_options(sentence: str) -> str:
    """Return a sentence of the library with the command's options where it names arguments."""
    for argument, option in OPTIONS.items():
        sentence = sentence.replace(argument, option)
    return re.sub(r"where=\('(\w+)',\)", r"--where \1", sentence)
