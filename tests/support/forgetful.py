"""The Runner of the example, with a fault: the negative control of its exact resume."""

from params.sac_demo import DemoRunner


class ForgetfulRunner(DemoRunner):
    """Begins anew with the explorer "demo" where it is resumed."""

    def restore_explorers(self, state, environment):
        demo = self.explorer.pop("demo")
        super().restore_explorers(state, environment)
        self.explorer["demo"] = demo
