"""How gateways are put in front of the scripted model: their own configurations, for `--print-config`."""

from typing import Literal, get_args

from server.conformance.plays import LARGE, SMALL

Known = Literal["smallfirst", "litellm", "portkey"]
KNOWN: tuple[Known, ...] = get_args(Known)

SMALLFIRST = f"""\
# smallfirst serve conformance.yaml
# smallfirst conformance http://127.0.0.1:8080 --upstream-port {{port}} --model auto --escalates
# smallfirst conformance http://127.0.0.1:8080 --upstream-port {{port}} --model large
tiers:
  small:
    model: {SMALL}
    price: {{{{input: 1, output: 2}}}}
    urls: [http://127.0.0.1:{{port}}]
  large:
    model: {LARGE}
    price: {{{{input: 10, output: 20}}}}
    urls: [http://127.0.0.1:{{port}}]
cascades:
  auto:
    tiers: [small, large]
    threshold: 0.5
    failover_share: 1.0
"""
LITELLM = f"""\
# litellm --config conformance.yaml --host 127.0.0.1 --port 4000
# smallfirst conformance http://127.0.0.1:4000 --upstream-port {{port}} --model large --api-key sk-conformance
model_list:
  - model_name: large
    litellm_params:
      model: hosted_vllm/{LARGE}
      api_base: http://127.0.0.1:{{port}}/v1
      api_key: none
general_settings:
  master_key: sk-conformance
"""
PORTKEY = f"""\
# npx @portkey-ai/gateway
# It listens on all addresses, and has no configuration of its own: a request's headers say where the model is. Where
# each stream is a 500, install it with an older web framework: bench/conformance/package.json of smallfirst.
smallfirst conformance http://127.0.0.1:8787 --upstream-port {{port}} --model {LARGE} \\
  --header 'x-portkey-provider: openai' \\
  --header 'x-portkey-custom-host: http://127.0.0.1:{{port}}/v1' \\
  --api-key none
"""


def recipe(known: Known, port: int) -> str:
    """What to write, and what to run."""
    recipes: dict[Known, str] = {"smallfirst": SMALLFIRST, "litellm": LITELLM, "portkey": PORTKEY}
    return recipes[known].format(port=port)
