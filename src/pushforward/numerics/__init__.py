"""Pure mathematics: no model, no state."""
