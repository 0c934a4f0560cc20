"""Physics-informed networks (extra `train`): exact derivatives, losses, fitting, export."""
