"""One file per command, named as the command.

A file defines `command`: a function (one command) or an app from `options.group()` (sub-commands). At its top it
imports the console, `core.errors`, `core.text` and the standard library, which take no time; its recipe is imported
inside the function. It may also define

* `FAILURE`: the fields its `--json` object has on failure before more is known, e.g. `{"answer": None}`;
* `explain_usage(args, error)`: a better error for a wrong command line, or None. `args` are the words after
  the command's name, `error` (a UsageError) is that of the parser.
"""
