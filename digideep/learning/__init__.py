"""How networks learn: gradient steps, optimizers, compiling, target networks."""
