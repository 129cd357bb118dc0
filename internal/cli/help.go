package cli

import "github.com/spf13/cobra"

// checks are the commands that answer a question with their exit code, and what 3
// means there.
var checks = map[string]string{
	"deed lag":    "3 when a group is above a limit",
	"deed check":  "3 when a promise is broken",
	"deed doctor": "3 when something is wrong",
}

// addExitCodes ends the help of every command that does something with what its
// exit code says.
func addExitCodes(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		addExitCodes(c)
	}
	codes := "\n\nExit codes: 0 when it is done, 1 when it failed, 2 for a wrong call"
	if three := checks[cmd.CommandPath()]; three != "" {
		codes += ", " + three
	}
	cmd.Long += codes + "."
}
