"""Continual learning: streams of tasks, elastic weight consolidation, the strategies compared, and what they are judged by."""
