"""Tools of OpenThinkIMG: lines that are drawn here, and those that its servers carry out."""
