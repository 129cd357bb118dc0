// Command deed publishes, reads and administers events from the shell.
package main

import (
	"os"

	"github.com/deedgo/deed/internal/cli"
)

func main() { os.Exit(cli.Main()) }
