"""What holds for all tests."""

from digideep.agent.gradient_step import separate_compiled_code

separate_compiled_code()  # where a test calls the compiler itself
