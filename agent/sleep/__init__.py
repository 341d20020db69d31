"""When the machine goes to sleep, and how: the idle clock, the hand-over, and the machine's own socket."""
