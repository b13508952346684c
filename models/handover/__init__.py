"""Handover: a finished draft, given to another model's engine as speculation.

One source, installed twice: in the gateway as `models.handover`, and inside vLLM, alone, as the distribution
`smallfirst-handover` (package `smallfirst_handover`). Imports inside are relative for that reason.
"""
