"""What the user configured: the AWS config, config.toml, environment variables and options."""
