"""`python main.py --params params/ppo_mujoco.py`: see digideep/main.py."""

import sys

from digideep.main import main

if __name__ == "__main__":
    sys.exit(main())
