"""What a node decides: which batch to run, who holds the chunks, what to start and stop. Pure; time is an argument."""
