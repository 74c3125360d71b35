"""Commands that govern, a module for each noun."""
