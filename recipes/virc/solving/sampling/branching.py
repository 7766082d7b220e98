"""Several ways on from one point of a conversation."""

import copy

from virc.reasoning.history import History
from virc.reasoning.session import Session


def branch(session: Session) -> Session:
    """A session in the same state, which goes on by itself.

    Values that tools keep for the problem are replaced by their calls, never changed, so both may go on. What a tool
    does outside of the session, such as at a server, is done for both.
    """
    other = copy.copy(session)
    for name, value in vars(session).items():
        if isinstance(value, list | dict | History):
            setattr(other, name, value.copy())
    return other
