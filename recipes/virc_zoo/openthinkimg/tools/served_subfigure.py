"""`served_subfigure`: show one plot of a figure alone, by a server of OpenThinkIMG."""

from virc_zoo.openthinkimg.tools import _servers

NAME = "served_subfigure"
TEMPLATE = "after_image"
SCHEMA = _servers.schema_of(NAME, "Show one plot of a figure alone.", "the title or place of the plot")

apply = _servers.called("ZoomInSubfigure")
