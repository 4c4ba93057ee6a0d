"""Options, strategies, the plan, the policy of `auto`, and the loop that trains."""
