"""What an operator can set: the schema, and reading it from a YAML file and the environment."""
