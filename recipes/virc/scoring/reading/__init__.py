"""How an answer is read: from a reply its conclusion, from that a value with its unit, a date or words."""
