"""courierctl convert, verify and revert, run as an administrator runs them."""

from servers.lab import BUILD

COURIERCTL = BUILD / "courierctl"


class Ctl:
    """courierctl with a state directory of its own."""

    def __init__(self, lab, store):
        self._lab = lab
        self.store = store
        self.state = lab.new_directory("ctl")
        self.state.chmod(0o700)
        self.journal = self.state / "journal"
        self.environment = {}

    def command(self, verb, *words):
        """The command line."""
        return [COURIERCTL, verb, "--state", self.state, "--journal", self.journal, self.store.path,
                *words]

    def run(self, verb, *words, expect=0):
        """Runs it; (standard output, standard error)."""
        done = self._lab.run(self.command(verb, *words), env=self.environment or None)
        out, err = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
        assert done.returncode == expect, f"courierctl {verb}: {done.returncode}: {out}{err}"
        return out, err
