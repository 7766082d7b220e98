"""What answers are worth: shares with their intervals, models compared on the same problems, a page to look at."""
