package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// shells are those that completion knows, with what writes a script for each.
var shells = []struct {
	name  string
	write func(root *cobra.Command, w io.Writer) error
}{
	{"bash", func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) }},
	{"zsh", func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) }},
	{"fish", func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) }},
	{"powershell", func(root *cobra.Command, w io.Writer) error { return root.GenPowerShellCompletionWithDesc(w) }},
}

func newCompletion(a *app) *cobra.Command {
	var names []string
	for _, s := range shells {
		names = append(names, s.name)
	}
	return &cobra.Command{
		Use:   "completion " + strings.Join(names, "|"),
		Short: "Write a script that teaches a shell to complete deed's commands and flags",
		Long: "Write a script that teaches a shell to complete deed's commands and flags. It goes where the shell looks\n" +
			"for such, or into its start-up file.",
		Example: "  source <(deed completion bash)\n" +
			"  deed completion zsh > ~/.zfunc/_deed\n" +
			"  deed completion fish > ~/.config/fish/completions/deed.fish",
		Args:      usageArgs(cobra.ExactArgs(1)),
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, s := range shells {
				if s.name == args[0] {
					return s.write(cmd.Root(), output{a.stdout})
				}
			}
			return usagef("unknown shell %q (one of %s)", args[0], strings.Join(names, ", "))
		},
	}
}
