"""What each training and serving engine gets: keys, files and command."""
