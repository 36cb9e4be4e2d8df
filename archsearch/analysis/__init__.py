"""What the records say: fronts."""
