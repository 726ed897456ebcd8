"""The key cache: unlocked keys in memory for some hours, in the kernel or an agent."""
