"""What each section of a report holds, a module each."""
