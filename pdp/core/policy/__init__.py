"""Policies restrict: what a class of actions and resources asks for beyond the facts."""
