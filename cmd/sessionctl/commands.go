package main

import "github.com/urfave/cli/v3"

// commands lists what sessionctl can do.
func commands(c *console) []*cli.Command {
	return []*cli.Command{
		pingCommand(c), doctorCommand(c), topCommand(c), countCommand(c), listCommand(c), showCommand(c), ttlCommand(c), revokeCommand(c),
		importCommand(c), capacityCommand(c),
	}
}
