"""What `virc data check` looks at in rows, a file per concern."""
