"""A policy decision point for governed sessions: asked at call time, answers from facts in memory."""
