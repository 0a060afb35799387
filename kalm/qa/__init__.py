"""Several runs asked the same questions without rationale: what tuning with rationales is worth."""
