"""What holds for all tests."""

from digideep.learning.compiling import separate_compiled_code

separate_compiled_code()  # where a test calls the compiler itself
