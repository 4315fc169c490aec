"""What keeps a kiosk running: settings, state, supervision, and what is done to it."""
