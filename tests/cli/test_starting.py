"""What a gateway that starts does not take into its memory."""

import subprocess
import sys

IMPORTED = "import server.app, server.cli.serve, sys; print(*({'aiohttp', 'jwt', 'numpy'} & sys.modules.keys()))"


def test_what_only_identity_providers_and_the_command_line_need_is_not_imported() -> None:
    command = [sys.executable, "-c", IMPORTED]

    said = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own program

    assert said.stdout.split() == []
