"""What is counted of a network: parameters, multiply-adds, activations, receptive fields, zero-cost scores."""
