package cli

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command tells what it does and how it ends, and its examples are calls that
// there are.
func TestHelp(t *testing.T) {
	root := newRoot(&app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard})
	eachCommand(root, func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		if len(cmd.Long) < len(cmd.Short) || !strings.Contains(cmd.Long, "\n\nExit codes: 0 ") {
			t.Errorf("%s: its help does not say what it does and how it ends: %q", path, cmd.Long)
		}
		for line := range strings.Lines(cmd.Long + "\n" + cmd.Example) {
			if len(line) > 121 {
				t.Errorf("%s: a line of its help is too long: %s", path, line)
			}
		}
		examples := strings.Split(cmd.Example, "\n")
		if len(examples) < 2 || len(examples) > 4 {
			t.Errorf("%s: %d examples (want 2 to 4)", path, len(examples))
		}
		own := false
		for _, line := range examples {
			if !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: the example is not indented: %q", path, line)
			}
			for _, call := range callsIn(line) {
				own = checkExample(t, root, cmd, call) || own
			}
		}
		if !own {
			t.Errorf("%s: none of its examples calls it", path)
		}
	})
}

func eachCommand(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, c := range cmd.Commands() {
		eachCommand(c, do)
	}
}

// callsIn returns the calls of deed in a line of shell, as words without quoting.
func callsIn(line string) [][]string {
	var calls [][]string
	for part := range strings.SplitSeq(strings.NewReplacer("<(", "|", ")", "|").Replace(line), "|") {
		if words := strings.Fields(part); len(words) > 0 && words[0] == "deed" {
			calls = append(calls, words[1:])
		}
	}
	return calls
}

// checkExample reports whether a call is one of cmd or of what it holds.
func checkExample(t *testing.T, root, cmd *cobra.Command, words []string) bool {
	called, rest, err := root.Find(words)
	if err != nil {
		t.Errorf("%s: the example %q: %v", cmd.CommandPath(), words, err)
		return false
	}
	for _, word := range rest {
		if word == "--" {
			break // what follows is another command's
		}
		name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case strings.HasPrefix(word, "--"):
			if called.Flags().Lookup(name) == nil && called.InheritedFlags().Lookup(name) == nil {
				t.Errorf("%s: the example %q: there is no --%s", cmd.CommandPath(), words, name)
			}
		case word == "-o":
			if called.Flags().ShorthandLookup(name) == nil {
				t.Errorf("%s: the example %q: there is no -o", cmd.CommandPath(), words)
			}
		}
	}
	return strings.HasPrefix(called.CommandPath()+" ", cmd.CommandPath()+" ")
}
