"""Configuration by the user: the AWS config, config.toml, environment variables and options."""
