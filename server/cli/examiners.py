"""The graders that an operator can name on the command line, those that run commands and ask judges among them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from models.endpoint import Endpoint, Limits
from models.replica import Replica
from models.session import Session
from router.lab.commanding import ByCommand, command_of
from router.lab.grading import COMMAND, JUDGE, CannotGrade, Examiners
from router.lab.judging import ByJudge, OrderBias

JUDGE_KEY = "JUDGE_API_KEY"
COMMAND_S = 60.0


@dataclass(frozen=True, slots=True)
class Special:
    """Makes the graders that do more than compare texts; `biases` are those of the judges that it made."""

    session: Session
    environment: Mapping[str, str]
    final: str | None
    biases: list[OrderBias] = field(default_factory=list)

    def command(self, line: str) -> ByCommand:
        """`command:PROGRAM ARGUMENTS`."""
        return command_of(line, self.environment, COMMAND_S)

    def judge(self, where: str) -> ByJudge:
        """`judge:MODEL@URL`, with the key in the environment's JUDGE_API_KEY, if any."""
        model, _, url = where.rpartition("@")
        if not model or not url.startswith(("http://", "https://")):
            raise CannotGrade("judge: say which model, and where: --grader judge:MODEL@http://HOST:PORT")
        server = url.rstrip("/").removesuffix("/v1")
        endpoint = Endpoint(server, model, self.environment.get(JUDGE_KEY) or None, "openai")
        judge = ByJudge(Replica(endpoint, session=self.session, limits=Limits()), self.final)
        self.biases.append(judge.bias)
        return judge

    def examiners(self, default: str | None) -> Examiners:
        """Those of a run."""
        return Examiners(default, final=self.final, special={COMMAND: self.command, JUDGE: self.judge})
