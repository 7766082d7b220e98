"""RSVP: where what a question means is, by the numbers of regions, and its mask by a tool."""
