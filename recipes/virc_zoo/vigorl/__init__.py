"""ViGoRL (Grounded Reinforcement Learning): its reward and the other files of the system."""
