package cli

import "github.com/spf13/cobra"

func newCheck(*app) *cobra.Command { return &cobra.Command{Use: "check"} }
