"""What memory tasks are made of: their base class, cheap random numbers and resets, decks, boards, mazes, pictures."""
