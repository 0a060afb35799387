"""Many runs from one command line: each job a launch of its own, one table over all."""
