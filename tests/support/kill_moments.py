"""A program that kills itself at one of its calls on the files of a folder."""

KILLED = """
import os, signal, sys

left, folder = int(sys.argv.pop(1)), os.path.join(os.path.abspath(sys.argv.pop(1)), "")


def count():
    global left
    left -= 1
    return left == 0


def is_inside(argument):
    if not isinstance(argument, (str, bytes, os.PathLike)):
        return False
    return os.path.join(os.path.abspath(os.fsdecode(argument)), "").startswith(folder)


def look(event, arguments):
    if event.split(".")[0] in ("open", "os", "shutil") and any(map(is_inside, arguments)) and count():
        os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(look)
"""
"""The head of a program, whose first two arguments it takes: which call kills it, and the folder. `left` counts down,
and `count()` counts a call that no audit event shows, and returns whether it is the one.
"""
