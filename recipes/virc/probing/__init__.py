"""What a server does with images and boxes, found out by asking it."""
