"""What the commands in scripts/ share: reading, checking and writing OpenAPI documents."""
