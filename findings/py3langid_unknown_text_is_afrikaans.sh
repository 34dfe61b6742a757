#!/usr/bin/env bash
# Guess: A text in which the model knows no feature has no language: classify gives
# "und", as its README has it for answers below a confidence, or languages that are
# all equally likely.
#
# Seen: It is Afrikaans, the first of the labels, with the lowest float32 as its
# score. "art", "in", "of" and the empty text are. The intercepts of the classes,
# which are added to every other text's scores, are left out.
#
# Versions: py3langid 0.4.0, numpy 2.4.6, Python 3.11.
#
# Why it matters: No change of the model's weights makes such a text right, although
# the linear model of the paper would follow its intercepts; a correction by one bias
# passes on a copy of the formula and does nothing in the library. Statistics over
# short texts have an excess of Afrikaans.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet py3langid==0.4.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version

import numpy as np
from py3langid.langid import MODEL_FILE, LanguageIdentifier

identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
words = ["art", "in", "of", ""]
answers = [identifier.classify(word) for word in words]
identifier.nb_pc[identifier.nb_classes.index("en")] += 1000.0
raised = [identifier.classify(word)[0] for word in words]

print("py3langid", version("py3langid"), "numpy", version("numpy"))
print("expected: und, or a score that says nothing is known; English once its intercept is the largest by far")
print("seen:    ", dict(zip(words, answers, strict=True)))
print("seen:     with the intercept of English raised by 1000:", raised)
lowest = float(np.finfo(np.float32).min)
if answers != [("af", lowest)] * len(words) or raised != ["af"] * len(words):
    sys.exit("the behaviour has changed")
EOF
