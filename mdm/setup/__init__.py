"""Set the house up on one machine: what was answered, who holds which key, and the steps in their order."""
