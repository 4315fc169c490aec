"""What the customer sees: the loop, their gestures, and how they come and go."""
