"""`python main.py --params params/ppo_mujoco.py`: see digideep/main.py."""

from digideep.main import cli

if __name__ == "__main__":
    cli()
