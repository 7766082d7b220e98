"""What a server sends of a reply: from the frames of its body to thought, content, calls and tokens."""
