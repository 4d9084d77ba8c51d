"""What a deployment is made of: the way, the candidate, the gate, what is live, a refusal."""
