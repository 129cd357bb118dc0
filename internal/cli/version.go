package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion(a *app) *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long:  "Show the version of deed, of Go, and of what deed was built from.",
		Example: "  deed version\n" +
			"  deed version -o json",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			v := versionOf()
			if out == asJSON {
				return a.printJSON(v)
			}
			text := "deed " + v.Version
			if v.Commit != "" {
				text += " (" + v.Commit + ")"
			}
			_, err := fmt.Fprintf(output{a.stdout}, "%s, %s %s, sqlite driver %s\n", text, v.Go, v.Platform, v.SQLite)
			return err
		},
	}
	out.addFlag(cmd)
	return cmd
}

type versionDoc struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	SQLite   string `json:"sqlite_driver"`
}

// versionOf reads what the linker wrote into the binary, so that no version number
// has to be kept anywhere.
func versionOf() versionDoc {
	v := versionDoc{
		Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, SQLite: "unknown",
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			v.Commit = s.Value[:12]
		}
	}
	for _, d := range info.Deps {
		if d.Path == "modernc.org/sqlite" {
			v.SQLite = d.Version
		}
	}
	return v
}
