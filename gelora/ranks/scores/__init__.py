"""What scores a matrix: gradient, Fisher, EVA and weight spectrum, by model and data; does not depend on ranks."""
