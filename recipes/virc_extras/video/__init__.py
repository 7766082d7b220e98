"""Clips and documents as pictures with a place: frames at their time, pages by their number."""
