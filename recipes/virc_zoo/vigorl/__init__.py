"""ViGoRL (Grounded Reinforcement Learning): its reward, and beside it all else that the system is."""
