"""Rewards for RL: terms and totals, one file each, and what they are given."""
