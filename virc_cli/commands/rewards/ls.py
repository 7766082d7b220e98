"""`virc rewards ls`: every built-in reward, term and rule for groups."""

from virc_cli.console import output
from virc_cli.console.options import Json
from virc_cli.console.tables import table

FAILURE: dict[str, object] = {"totals": None, "terms": None, "groups": None}


def command(as_json: Json = False) -> None:
    """List totals, terms, and rules for groups of replies.

    A system names a total as `reward: {total: NAME}`, or a custom file. `virc rewards try` scores replies.
    """
    from virc.core import plugins
    from virc.rewards import registry as rewards

    terms, totals = rewards.discover()
    rules = [(name, rewards.about(rule)) for name, rule in plugins.group_rules().items()]
    listed = [{"name": each.name, "terms": [term.name for term in each.terms], "about": each.about} for each in totals]
    named = [{"name": each.name, "about": each.about} for each in terms]
    found = {"totals": listed, "terms": named, "groups": [{"name": name, "about": about} for name, about in rules]}
    rows = [("total", each.name, each.about) for each in totals]
    rows += [("term", each.name, each.about) for each in terms]
    output.result(as_json, "virc.rewards.ls/1", found, table(rows + [("group", name, about) for name, about in rules]))
