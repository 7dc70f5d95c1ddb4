"""Advice in errors names flags that the verb has: a flag of another verb is named with that verb.

Tables, models and files are read and written by every verb, and what their errors advise may be the flag of one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import typer.main

# A flag in a sentence; one that is quoted with its verb, or follows it, is left as it is.
FLAG = re.compile(r"(?P<verb>\b[a-z]+ )?(?P<flag>--[a-z][a-z-]*[a-z])")
# Arguments of Python that errors of images name, and their flags.
ARGUMENTS = {
    "n_levels": "--levels",
    "layout": "--layout",
    "stream": "--stream",
    "mask": "--mask",
    "factor": "--factor",
    "noise_sd": "--noise-sd",
    "flow": "--flow",
    "dequantization": "--dequantization",
    "pixel_map": "--pixel-map",
}
ARGUMENT = re.compile(rf"\b(?P<name>{'|'.join(ARGUMENTS)})=(?:'(?P<word>[^']*)'|(?P<bare>\w+)\b)?")
# The verb that is named for a flag that several others have.
FIRST = "fit"


def flags_of(app: typer.Typer) -> dict[str, frozenset[str]]:
    """The flags of every verb of an application, by the verb's name."""
    group: Any = typer.main.get_command(app)
    own = {
        name: frozenset(flag for param in command.params for flag in (*param.opts, *param.secondary_opts))
        for name, command in group.commands.items()
    }
    return {name: flags | {"--help"} for name, flags in own.items()}


def qualified(words: str, verb: str, flags: Mapping[str, frozenset[str]]) -> str:
    """A message in which each flag that `verb` lacks stands behind the name of a verb that has it.

    Arguments of Python that errors of images name are written as flags first.

    Args:
        words: The message.
        verb: Name of the verb that failed.
        flags: Flags of every verb.

    Example:
        >>> flags = {"fit": frozenset({"--columns"}), "score": frozenset({"--missing"})}
        >>> qualified("Leave it out with --columns, or use --missing drop.", "score", flags)
        'Leave it out with pushforward fit --columns, or use --missing drop.'
    """

    def named(found: re.Match[str]) -> str:
        before, flag = found["verb"] or "", found["flag"]
        if flag in flags.get(verb, ()) or flag in flags.get(before.strip(), ()):
            return found[0]
        having = [name for name in sorted(flags, key=lambda name: name != FIRST) if flag in flags[name]]
        return f"{before}pushforward {having[0]} {flag}" if having else found[0]

    def flag_of(found: re.Match[str]) -> str:
        value = found["word"] or found["bare"]
        flag = ARGUMENTS[found["name"]]
        return flag if value in (None, "True") else f"{flag} {value}"

    return FLAG.sub(named, ARGUMENT.sub(flag_of, words))


def verb_in(arguments: Sequence[str], flags: Mapping[str, frozenset[str]]) -> str:
    """The verb that a command line names, empty if it names none."""
    return next((word for word in arguments if word in flags), "")
