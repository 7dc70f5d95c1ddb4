"""The verbs of the command line: each module holds the verb of its name, a function marked with `verb`.

A new module here is a new verb: `pushforward.cli.app` finds it. Everything heavy is imported inside the functions.
"""
