"""Keep the keys that open a vault in memory for a time, in the kernel or an agent."""
