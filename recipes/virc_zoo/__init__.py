"""Published systems, one folder each, which the entry point `virc.systems` finds; docs/zoo.md says what is in one."""
