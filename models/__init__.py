"""Language models and what they say: clients, pools, engines. Knows nothing of cascades or of serving HTTP."""
