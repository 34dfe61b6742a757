"""Inputs of the reports on magika, written or generated here as the reports describe them."""

import numpy as np

from experiments.public_bugs.words import name, sentence

WIDTH = 8  # words of a line of comment
BODIES = (
    'for {a} in "$@"\ndo\n  case "${a}" in\n  -*) {b}="$ {b} ${a}" ;;\n  *) {c}="${a}" ;;\n  esac\ndone\n',
    'test -z "${a}" && {a}={b}\nif test -r "${a}"; then\n  {c} < "${a}" | more\nelse\n'
    '  echo "$0: ${a}" 1>&2\n  exit 1\nfi\n',
    '{a}=`expr "$0" : ".*/\\(.*\\)"`\nwhile test $# -gt 0; do\n  {b}="${b} $1"\n  shift\ndone\neval "exec {c} ${b}"\n',
    '({a}; {b}) 2>/dev/null || exit 1\nset -- ${c}\nfor {a}\ndo {b} -q "${a}" || {c}=1\ndone\nexit ${c}\n',
)


def shell_script(stream: np.random.Generator) -> bytes:
    """Write a shell script as an installed one without its first line: a long comment of prose, then commands."""
    comment = "".join(
        f"# {sentence(stream, WIDTH)}\n" if stream.random() < 0.8 else "#\n"
        for _ in range(int(stream.integers(4, 25)))
    )
    parts = [str(stream.choice(BODIES)) for _ in range(int(stream.integers(1, 4)))]
    body = "\n".join(part.format(a=name(stream), b=name(stream), c=name(stream)) for part in parts)
    return f"{comment}\n{body}".encode()


def cue_sheet(stream: np.random.Generator) -> bytes:
    """Write the table of contents of a disc."""
    head = (
        f'PERFORMER "{name(stream).title()}"\nTITLE "{sentence(stream, 3)}"\nFILE "{name(stream)}.wav" WAVE\n'
    )
    tracks = (
        f'  TRACK {at:02d} AUDIO\n    TITLE "{sentence(stream, 4)}"\n'
        f"    INDEX 01 {3 * at:02d}:{stream.integers(60):02d}:00\n"
        for at in range(1, int(stream.integers(5, 20)))
    )
    return (head + "".join(tracks)).encode()
