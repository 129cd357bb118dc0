package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed/engine"
)

func newMigrations(a *app) *cobra.Command {
	return group("migrations", "Print the tables that a database needs", newMigrationsPrint(a))
}

func newMigrationsPrint(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "print [URL]",
		Short: "Print the tables as SQL",
		Long: "Print the tables that an SQL engine needs as SQL, for whoever may create them. It opens nothing. A program\n" +
			"that finds the tables creates none; with ddl=off in its URL it would not in any case.",
		Example: "  deed migrations print 'postgres://db/shop?schema=events' | psql postgres://admin@db/shop\n" +
			"  deed migrations print sqlite:orders.db",
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				a.url = args[0]
			}
			script, err := engine.Migrations(a.url)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(output{a.stdout}, script)
			return err
		},
	}
}
